package embedded

import (
	"fmt"
	"log/slog"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// natsLog brings the NATS server's log into ours. Its notices are details of one of our parts, hence Debug.
type natsLog struct{ logger *slog.Logger }

var _ natsserver.Logger = natsLog{}

func (l natsLog) Noticef(format string, v ...any) {
	l.logger.Debug("nats: " + fmt.Sprintf(format, v...))
}
func (l natsLog) Warnf(format string, v ...any) { l.logger.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Errorf(format string, v ...any) {
	l.logger.Error("nats: " + fmt.Sprintf(format, v...))
}
func (l natsLog) Fatalf(format string, v ...any) {
	l.logger.Error("nats: " + fmt.Sprintf(format, v...))
}
func (l natsLog) Debugf(format string, v ...any) {
	l.logger.Debug("nats: " + fmt.Sprintf(format, v...))
}
func (l natsLog) Tracef(format string, v ...any) {
	l.logger.Debug("nats: " + fmt.Sprintf(format, v...))
}
