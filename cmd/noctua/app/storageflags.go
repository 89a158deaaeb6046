package app

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/noctua-screening/noctua/cmd/noctua/app/embedded"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// storageFlags say where the buckets are of a Noctua that runs: embedded in a data folder, or on an S3 server of its own.
type storageFlags struct {
	S3Endpoint      string `name:"s3-endpoint" help:"S3 server of a Noctua that is not embedded, instead of --data." env:"NOCTUA_S3_ENDPOINT" placeholder:"URL"`
	S3Region        string `name:"s3-region" help:"S3 region." default:"us-east-1" env:"NOCTUA_S3_REGION"`
	S3AccessKey     string `name:"s3-access-key" help:"S3 access key." env:"NOCTUA_S3_ACCESS_KEY"`
	S3SecretKey     string `name:"s3-secret-key" help:"S3 secret key; better given by --s3-secret-key-file or the environment." env:"NOCTUA_S3_SECRET_KEY"`
	S3SecretKeyFile string `name:"s3-secret-key-file" help:"File with the S3 secret key." env:"NOCTUA_S3_SECRET_KEY_FILE" placeholder:"FILE"`
	BucketPrefix    string `help:"What the names of the buckets begin with." default:"noctua-" env:"NOCTUA_BUCKET_PREFIX"`
}

// storage finds the buckets.
func (f storageFlags) storage(data string) (blob.Config, error) {
	if f.S3Endpoint != "" {
		return externalFlags{storeFlags: storeFlags(f)}.objects()
	}
	var e endpoint
	var s secrets
	if err := errors.Join(readJSONFile(filepath.Join(data, endpointFile), &e), readJSONFile(filepath.Join(data, secretsFile), &s)); err != nil {
		return blob.Config{}, fault.Wrap(fault.NotFound, "noctua-not-found", err, "no running Noctua was found in %s; start one with noctua run, or name one with --data, or an S3 server with --s3-endpoint", data)
	}
	return blob.Config{Endpoint: strings.TrimPrefix(e.S3URL, "http://"), AccessKey: s.S3AccessKey, SecretKey: s.S3SecretKey, Region: embedded.Region}, nil
}
