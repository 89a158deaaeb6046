-- What searches go by: the clinics of whoever asks, then the order of the answer, then what counting has to look at.

-- +goose Up
CREATE INDEX reports_clinic_updated ON reports (clinic, updated_ms, superseded_ms);
CREATE INDEX reports_clinic_date ON reports (clinic, study_date, updated_ms, superseded_ms);
CREATE INDEX reports_clinic_issued ON reports (clinic, issued_ms, updated_ms, superseded_ms);
CREATE INDEX reports_accession ON reports (accession);
CREATE INDEX patients_updated ON patients (updated_ms DESC, patient_key);
CREATE INDEX patients_clinic_updated ON patients (clinic, updated_ms DESC, patient_key);
CREATE INDEX patients_clinic_search ON patients (clinic, search, patient_key);
CREATE INDEX patients_key ON patients (patient_key, search, clinic);
CREATE INDEX patients_clinic ON patients (clinic, patient_key, search);
CREATE INDEX images_clinic ON images (clinic, settled, received_ms);
CREATE INDEX images_status ON images (status, patient_key);

-- +goose Down
DROP INDEX images_status;
DROP INDEX images_clinic;
DROP INDEX patients_clinic;
DROP INDEX patients_key;
DROP INDEX patients_clinic_search;
DROP INDEX patients_clinic_updated;
DROP INDEX patients_updated;
DROP INDEX reports_accession;
DROP INDEX reports_clinic_issued;
DROP INDEX reports_clinic_date;
DROP INDEX reports_clinic_updated;
