-- The report index. Times are milliseconds since 1970 UTC. Every table but settings and studies is a projection of the
-- buckets; studies holds what is due, and is derived from the others.

-- +goose Up
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row an archived revision (SOP instance and bytes).
CREATE TABLE images (
    sop_uid          TEXT NOT NULL,
    sha256           TEXT NOT NULL,
    instance_key     TEXT NOT NULL UNIQUE,
    archive_key      TEXT NOT NULL,
    study_uid        TEXT NOT NULL,
    clinic           TEXT NOT NULL,
    patient_key      TEXT NOT NULL,
    report_id        TEXT NOT NULL,
    "analyse"        SMALLINT NOT NULL,
    received_ms      BIGINT NOT NULL,
    status           TEXT NOT NULL,            -- pending, measured, ungradable, not-analysed, failed
    outcome_key      TEXT NOT NULL,            -- result.json or failure.json that gave the status, or ''
    reported_status  TEXT NOT NULL DEFAULT '', -- status in the newest report, or ''
    reported_outcome TEXT NOT NULL DEFAULT '',
    reported_ms      BIGINT NOT NULL DEFAULT 0,
    settled          SMALLINT NOT NULL DEFAULT 0, -- 0 pending, 1 done, 2 failed: in a report with its status
    PRIMARY KEY (sop_uid, sha256)
);
CREATE INDEX images_report ON images (report_id);
CREATE INDEX images_settled ON images (settled, received_ms);
CREATE INDEX images_reported ON images (reported_ms);

-- One row a result or failure of a model on an image. May come before its image.
CREATE TABLE outcomes (
    outcome_key   TEXT PRIMARY KEY,
    sop_uid       TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    failed        SMALLINT NOT NULL,
    status        TEXT NOT NULL,
    model_sha256  TEXT NOT NULL,
    model_name    TEXT NOT NULL,
    model_version TEXT NOT NULL,
    finished_ms   BIGINT NOT NULL
);
CREATE INDEX outcomes_image ON outcomes (sop_uid, sha256);
CREATE INDEX outcomes_model ON outcomes (model_sha256);

CREATE TABLE rejected (
    document_key TEXT PRIMARY KEY,
    clinic       TEXT NOT NULL,
    code         TEXT NOT NULL,
    study_uid    TEXT NOT NULL,
    received_ms  BIGINT NOT NULL,
    document     TEXT NOT NULL
);
CREATE INDEX rejected_study ON rejected (study_uid);
CREATE INDEX rejected_received ON rejected (received_ms);

CREATE TABLE duplicates (
    document_key TEXT PRIMARY KEY,
    clinic       TEXT NOT NULL,
    sha256       TEXT NOT NULL,
    of_key       TEXT NOT NULL,
    received_ms  BIGINT NOT NULL
);
CREATE INDEX duplicates_received ON duplicates (received_ms);

-- One row a version. updated_ms grows strictly with every row that is added, and so pages _lastUpdated; a row was the newest
-- version at every moment t with updated_ms <= t < superseded_ms.
CREATE TABLE reports (
    report_id       TEXT NOT NULL,
    version         INTEGER NOT NULL,
    document_key    TEXT NOT NULL UNIQUE,
    clinic          TEXT NOT NULL,
    patient_key     TEXT NOT NULL,
    patient_id      TEXT NOT NULL,
    patient_issuer  TEXT NOT NULL,
    study_uid       TEXT NOT NULL,
    accession       TEXT NOT NULL,
    study_date      TEXT NOT NULL,
    status          TEXT NOT NULL,
    issued_ms       BIGINT NOT NULL,
    updated_ms      BIGINT NOT NULL UNIQUE,
    superseded_ms   BIGINT NOT NULL,
    document        TEXT NOT NULL,             -- report.json while newest, '' after that
    PRIMARY KEY (report_id, version)
);
CREATE INDEX reports_patient ON reports (patient_key, updated_ms);
CREATE INDEX reports_patient_id ON reports (patient_id, updated_ms);
CREATE INDEX reports_date ON reports (study_date, updated_ms);
CREATE INDEX reports_issued ON reports (issued_ms, updated_ms);
CREATE INDEX reports_study ON reports (study_uid);

-- The patient as in the report that was updated last.
CREATE TABLE patients (
    patient_key TEXT PRIMARY KEY,
    clinic      TEXT NOT NULL,
    patient_id  TEXT NOT NULL,
    issuer      TEXT NOT NULL,
    name        TEXT NOT NULL,
    search      TEXT NOT NULL,                 -- name and id, folded
    birth_date  TEXT NOT NULL,
    sex         TEXT NOT NULL,
    updated_ms  BIGINT NOT NULL
);
CREATE INDEX patients_id ON patients (patient_id);
CREATE INDEX patients_search ON patients (search, patient_key);

-- One row a report to be: what changed and when it is due.
CREATE TABLE studies (
    report_id   TEXT PRIMARY KEY,
    clinic      TEXT NOT NULL,
    patient_key TEXT NOT NULL,
    study_uid   TEXT NOT NULL,
    changes     BIGINT NOT NULL,               -- changes seen
    covered     BIGINT NOT NULL,               -- changes that were dealt with
    dirty_ms    BIGINT NOT NULL,               -- time of the first change that was not dealt with, or 0
    changed_ms  BIGINT NOT NULL,               -- time of the last change
    pending     INTEGER NOT NULL,              -- images without an outcome
    status      TEXT NOT NULL,                 -- status of the newest report, or ''
    due_ms      BIGINT NOT NULL                -- when to look at it again
);
CREATE INDEX studies_due ON studies (due_ms);
CREATE INDEX studies_uid ON studies (study_uid);

-- +goose Down
DROP TABLE studies;
DROP TABLE patients;
DROP TABLE reports;
DROP TABLE duplicates;
DROP TABLE rejected;
DROP TABLE outcomes;
DROP TABLE images;
DROP TABLE settings;
