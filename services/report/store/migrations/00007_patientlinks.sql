-- What people decided about who a patient is.

-- +goose Up
CREATE TABLE patient_links (
    document_key TEXT PRIMARY KEY,
    patient_key  TEXT NOT NULL,             -- as issued
    number       INTEGER NOT NULL,
    clinic       TEXT NOT NULL,
    into_key     TEXT NOT NULL,             -- whose the studies are, or ''
    decided_ms   BIGINT NOT NULL,
    document     TEXT NOT NULL
);
CREATE INDEX patient_links_patient ON patient_links (patient_key, number);
CREATE INDEX patient_links_into ON patient_links (into_key);
CREATE INDEX studies_patient ON studies (patient_key);

-- +goose Down
DROP INDEX studies_patient;
DROP TABLE patient_links;
