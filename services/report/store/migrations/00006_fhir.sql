-- What FHIR searches ask for besides.

-- +goose Up
ALTER TABLE reports ADD COLUMN fhir_status TEXT NOT NULL DEFAULT ''; -- registered or partial, where it is not status
CREATE INDEX reports_first ON reports (version, issued_ms);

-- +goose Down
DROP INDEX reports_first;
ALTER TABLE reports DROP COLUMN fhir_status;
