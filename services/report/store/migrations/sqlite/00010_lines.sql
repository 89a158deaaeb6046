-- What the list of patients goes by: a row a report, of its newest version.

-- +goose Up
CREATE TABLE lines (
    report_id   TEXT PRIMARY KEY,
    clinic      TEXT NOT NULL,
    patient_key TEXT NOT NULL,
    study_uid   TEXT NOT NULL,
    study_date  TEXT NOT NULL,
    search      TEXT NOT NULL,           -- name and ID, folded
    patient_id  TEXT NOT NULL,
    status      TEXT NOT NULL,
    first_ms    BIGINT NOT NULL,         -- when version 1 was issued
    updated_ms  BIGINT NOT NULL,
    ungradable  SMALLINT NOT NULL,       -- 1: the study has an ungradable picture
    failed      SMALLINT NOT NULL,       -- 1: one that could not be analysed
    waiting     SMALLINT NOT NULL,       -- 1: a file in quarantine, or one that was announced and is missing
    person      SMALLINT NOT NULL,       -- 1: any of these
    changed     SMALLINT NOT NULL,       -- 1: an eye differs from the visit before beyond error
    latest      SMALLINT NOT NULL DEFAULT 0 -- 1: the patient's latest study
);
CREATE INDEX lines_patient ON lines (patient_key, study_date, study_uid);
CREATE INDEX lines_first ON lines (first_ms, clinic);
CREATE INDEX lines_updated ON lines (updated_ms, report_id) WHERE latest = 1;
CREATE INDEX lines_name ON lines (search, report_id) WHERE latest = 1;
CREATE INDEX lines_id ON lines (patient_id, report_id) WHERE latest = 1;
CREATE INDEX lines_date ON lines (study_date, report_id) WHERE latest = 1;
CREATE INDEX lines_clinic_updated ON lines (clinic, updated_ms, report_id) WHERE latest = 1;
CREATE INDEX lines_clinic_name ON lines (clinic, search, report_id) WHERE latest = 1;
CREATE INDEX lines_status ON lines (status, updated_ms, report_id) WHERE latest = 1;
CREATE INDEX lines_ungradable ON lines (updated_ms, report_id, clinic) WHERE latest = 1 AND ungradable = 1;
CREATE INDEX lines_failed ON lines (updated_ms, report_id, clinic) WHERE latest = 1 AND failed = 1;
CREATE INDEX lines_waiting ON lines (updated_ms, report_id, clinic) WHERE latest = 1 AND waiting = 1;
CREATE INDEX lines_person ON lines (updated_ms, report_id, clinic) WHERE latest = 1 AND person = 1;
CREATE INDEX lines_changed ON lines (updated_ms, report_id, clinic) WHERE latest = 1 AND changed = 1;

-- When a person last decided about a file in quarantine; 0: nobody has.
ALTER TABLE rejected ADD COLUMN decided_ms BIGINT NOT NULL DEFAULT 0;
CREATE INDEX rejected_decided ON rejected (decided_ms, document_key) WHERE decided_ms > 0;

-- +goose Down
DROP INDEX rejected_decided;
ALTER TABLE rejected DROP COLUMN decided_ms;
DROP TABLE lines;
