// Package servers starts NATS and S3 servers as processes of their own for tests: the same versions as the embedded ones,
// built from go.mod's tools, with file stores in the test's folder and free ports. They can be killed and started
// again on the same port and data. Only tests import it.
package servers
