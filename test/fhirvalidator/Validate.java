import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseResource;

/**
 * Validates every FHIR resource of a folder (*.json, and *.ndjson with one a line) with HAPI's validator and the definitions of R4. CodeSystems, ValueSets and
 * StructureDefinitions of the folder are known to it as well. Prints errors one by one and warnings by kind; status 1 if there is an error.
 */
class Validate {
  public static void main(String[] args) throws IOException {
    FhirContext fhir = FhirContext.forR4();
    Map<String, String> resources = new TreeMap<>();
    List<Path> files;
    try (Stream<Path> found = Files.walk(Path.of(args[0]))) {
      files = found.filter(Files::isRegularFile).sorted().toList();
    }
    for (Path file : files) {
      if (file.toString().endsWith(".json")) {
        resources.put(file.toString(), Files.readString(file));
      } else if (file.toString().endsWith(".ndjson")) {
        int line = 0;
        for (String text : Files.readAllLines(file)) {
          resources.put(String.format("%s:%06d", file, ++line), text);
        }
      }
    }
    if (resources.isEmpty()) {
      System.err.println("there is no resource in " + args[0]);
      System.exit(2);
    }
    PrePopulatedValidationSupport own = new PrePopulatedValidationSupport(fhir);
    for (String text : resources.values()) {
      if (text.contains("\"resourceType\":\"CodeSystem\"") || text.contains("\"resourceType\":\"ValueSet\"") || text.contains("\"resourceType\":\"StructureDefinition\"")) {
        IBaseResource resource = fhir.newJsonParser().parseResource(text);
        if (!fhir.getResourceType(resource).equals("Bundle")) {
          own.addResource(resource);
        }
      }
    }
    UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(fhir);
    unknown.setNonExistentCodeSystemSeverity(IValidationSupport.IssueSeverity.WARNING);
    ValidationSupportChain chain = new ValidationSupportChain(new DefaultProfileValidationSupport(fhir), own, new CommonCodeSystemsTerminologyService(fhir),
        new InMemoryTerminologyServerValidationSupport(fhir), unknown);
    FhirInstanceValidator instances = new FhirInstanceValidator(chain);
    FhirValidator validator = fhir.newValidator().registerValidatorModule(instances);
    int errors = 0;
    Map<String, Integer> kinds = new TreeMap<>();
    Map<String, List<String>> warnings = new TreeMap<>();
    for (Map.Entry<String, String> resource : resources.entrySet()) {
      kinds.merge(resource.getValue().replaceFirst("(?s).*?\"resourceType\"\\s*:\\s*\"(\\w+)\".*", "$1"), 1, Integer::sum);
      for (SingleValidationMessage m : validator.validateWithResult(resource.getValue()).getMessages()) {
        if (m.getSeverity() == ResultSeverityEnum.ERROR || m.getSeverity() == ResultSeverityEnum.FATAL) {
          errors++;
          System.out.printf("ERROR %s %s: %s%n", resource.getKey(), m.getLocationString(), m.getMessage());
        } else if (m.getSeverity() == ResultSeverityEnum.WARNING) {
          String where = m.getLocationString().replaceAll("\\[\\d+\\]", "[]").replaceAll("/\\*[^*]*\\*/", "");
          warnings.computeIfAbsent(where.replaceFirst("^Bundle\\.entry\\[\\]\\.resource\\.ofType\\((\\w+)\\)", "$1") + ": " + m.getMessage().replaceAll("[0-9a-f]{16,}|\\d+(\\.\\d+)+", "…"), k -> new ArrayList<>()).add(resource.getKey());
        }
      }
    }
    warnings.forEach((what, where) -> System.out.printf("WARNING (%d, e.g. %s) %s%n", where.size(), where.get(0), what));
    System.out.printf("%d resources %s: %d errors, %d kinds of warnings%n", resources.size(), kinds, errors, warnings.size());
    System.exit(errors > 0 ? 1 : 0);
  }
}
