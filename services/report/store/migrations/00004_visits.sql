-- Visits of a patient in the order of their dates.

-- +goose Up
CREATE INDEX reports_visits ON reports (patient_key, superseded_ms, study_date, study_uid);

-- +goose Down
DROP INDEX reports_visits;
