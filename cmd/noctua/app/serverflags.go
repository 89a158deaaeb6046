package app

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// natsFlags say where the NATS server is.
type natsFlags struct {
	NATSURL       string `name:"nats-url" help:"NATS server, e.g. nats://nats:4222." required:"" env:"NOCTUA_NATS_URL" placeholder:"URL"`
	NATSCredsFile string `name:"nats-creds-file" help:"NATS credentials file." env:"NOCTUA_NATS_CREDS_FILE" placeholder:"FILE"`
	NATSTokenFile string `name:"nats-token-file" help:"File with the NATS token." env:"NOCTUA_NATS_TOKEN_FILE" placeholder:"FILE"`
}

// storeFlags say where the S3 server is.
type storeFlags struct {
	S3Endpoint      string `name:"s3-endpoint" help:"S3 server, e.g. https://s3.example.org." required:"" env:"NOCTUA_S3_ENDPOINT" placeholder:"URL"`
	S3Region        string `name:"s3-region" help:"S3 region." default:"us-east-1" env:"NOCTUA_S3_REGION"`
	S3AccessKey     string `name:"s3-access-key" help:"S3 access key." required:"" env:"NOCTUA_S3_ACCESS_KEY"`
	S3SecretKey     string `name:"s3-secret-key" help:"S3 secret key; better given by --s3-secret-key-file or the environment." env:"NOCTUA_S3_SECRET_KEY"`
	S3SecretKeyFile string `name:"s3-secret-key-file" help:"File with the S3 secret key." env:"NOCTUA_S3_SECRET_KEY_FILE" placeholder:"FILE"`
	BucketPrefix    string `help:"What the names of the buckets begin with." default:"noctua-" env:"NOCTUA_BUCKET_PREFIX"`
}

// secretOf returns value, or else what file holds. what names it in errors.
func secretOf(what, value, file string) (string, error) {
	if value != "" && file != "" {
		return "", usageError{fmt.Errorf("give %s either directly or by a file, not both", what)}
	}
	if file == "" {
		return value, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fault.Wrap(fault.NotFound, "secret-missing", err, "the file with %s cannot be read", what)
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", fault.New(fault.Invalid, "secret-missing", "the file %s should hold %s but is empty", file, what)
	}
	return secret, nil
}

// splitEndpoint takes an S3 address apart into host:port and whether TLS is used.
func splitEndpoint(address string) (host string, secure bool, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
		return "", false, usageError{fmt.Errorf("the S3 address %q should look like http://host:port or https://host", address)}
	}
	return u.Host, u.Scheme == "https", nil
}
