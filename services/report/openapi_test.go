package report

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// notDescribed are routes that the OpenAPI document leaves out: pages for people, and FHIR, which describes itself.
func notDescribed(pattern string) bool {
	_, path, _ := strings.Cut(pattern, " ")
	return !strings.HasPrefix(path, "/api/") && path != "/healthz" && path != "/readyz"
}

// TestOpenAPI: the document has every route that is no page and not FHIR, and no other; requests and answers, errors too, are as it says.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromFile("../../docs/integrate/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // whatever host the test has
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	k, data := twoClinics(t)
	described := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+path] = true
		}
	}
	options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}
	asked, uploader := 0, k.grant("u", "upload", 0)
	for _, r := range k.routes() {
		if notDescribed(r.pattern) {
			continue
		}
		if !described[r.pattern] {
			t.Errorf("the document lacks %s", r.pattern)
			continue
		}
		delete(described, r.pattern)
		for _, bearer := range []string{testToken, uploader} {
			request := table(data["north"])[r.pattern]
			req := httptest.NewRequestWithContext(t.Context(), request.method, "http://noctua.example"+request.address, strings.NewReader(request.body))
			req.Header.Set("Authorization", "Bearer "+bearer)
			if request.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			route, params, err := router.FindRoute(req)
			if err != nil {
				t.Errorf("%s: %v", r.pattern, err)
				continue
			}
			input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options}
			if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
				t.Errorf("%s: the request of the test: %v", r.pattern, err)
			}
			w := httptest.NewRecorder()
			k.Handler().ServeHTTP(w, req)
			asked++
			answer := w.Result()
			status := answer.StatusCode
			if op := route.Operation; op.Responses.Status(status) == nil && (status == http.StatusForbidden || status == http.StatusUnauthorized) {
				continue // every route may say so; some say it in the document
			}
			err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: status, Header: answer.Header, Body: io.NopCloser(answer.Body), Options: options})
			if err != nil {
				t.Errorf("%s answers %d: %v", r.pattern, status, err)
			}
		}
	}
	for pattern := range described {
		t.Errorf("the document has %s, which does not exist", pattern)
	}
	t.Logf("%d requests", asked)
}
