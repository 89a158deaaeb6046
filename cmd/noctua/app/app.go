package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Exit codes of the program.
const (
	exitOK       = 0
	exitInternal = 1 // a defect, or something that may work when tried again
	exitUsage    = 2 // the command line or the configuration is wrong
	exitInput    = 3 // a file, folder, address or token given is wrong or missing
)

// Streams are where the program writes: results to Out, progress, logs and errors to Err.
type Streams struct {
	Out, Err io.Writer
}

// commandLine is the whole command line. Every flag may also come from the environment (NOCTUA_<FLAG>) or from the
// configuration file; a flag beats the environment, the environment beats the file.
type commandLine struct {
	Config   kong.ConfigFlag `help:"Configuration file (YAML): flag names as keys. Unknown keys are errors." placeholder:"FILE"`
	LogLevel string          `help:"What to log: debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"NOCTUA_LOG_LEVEL"`

	Run     runCommand     `cmd:"" help:"Run all of Noctua in one process, with embedded NATS, S3 and SQLite."`
	Ingest  ingestCommand  `cmd:"" help:"Run the ingest service against external NATS and S3."`
	Segment segmentCommand `cmd:"" help:"Run segment workers against external NATS and S3."`
	Report  reportCommand  `cmd:"" help:"Run the report service (reports, FHIR, web page) against external NATS and S3."`

	Submit     submitCommand     `cmd:"" help:"Upload DICOM files, ZIPs or folders to a running Noctua."`
	Status     statusCommand     `cmd:"" help:"Show how many images are received, pending, done, duplicate, quarantined and failed."`
	Quarantine quarantineCommand `cmd:"" help:"List, show, release and discard files that need a person."`
	Patient    patientCommand    `cmd:"" help:"Say that patients are one, or that a study is of another; undo it."`
	Reprocess  reprocessCommand  `cmd:"" help:"Measure archived pictures by another model, beside the results that are there."`
	Export     exportCommand     `cmd:"" help:"Send results to archives and reports to receivers (again): what failed, or what was made since a day."`
	Demo       demoCommand       `cmd:"" help:"Drop a night of synthetic patients into a running Noctua."`
	Predict    predictCommand    `cmd:"" help:"Segment pictures or DICOM files without servers."`
	Evaluate   evaluateCommand   `cmd:"" help:"Compare models with labelled data sets."`
	Model      modelCommand      `cmd:"" help:"Install, list, choose and remove models."`
	Token      tokenCommand      `cmd:"" help:"Make, list and revoke tokens of programs and people."`
	Account    accountCommand    `cmd:"" help:"Make, list, disable and remove accounts of people, and set their passwords."`
	Audit      auditCommand      `cmd:"" help:"Check the audit log."`
	Migrate    migrateCommand    `cmd:"" help:"Bring the report index to the newest schema."`
	Rebuild    rebuildCommand    `cmd:"" help:"Make the report index anew from the buckets."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// invocation is what a command needs besides its own flags.
type invocation struct {
	ctx    context.Context
	out    io.Writer
	err    io.Writer
	logger *slog.Logger
}

// usageError marks an error of the command line or configuration.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// Main runs the program with its arguments (without the program's name) and returns the exit code. Cancelling ctx stops it
// cleanly. Every error is printed as one sentence.
func Main(ctx context.Context, args []string, s Streams) int {
	var cli commandLine
	exited := -1
	parser, err := kong.New(&cli,
		kong.Name("noctua"),
		kong.Description("Noctua screens retinal photographs overnight. It is a screening aid and makes no diagnosis."),
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(code int) { exited = code }),
		kong.Configuration(loadConfig),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return fail(s.Err, fmt.Errorf("building the command line: %w", err))
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help was asked for and printed
		return exited
	}
	if err != nil {
		return fail(s.Err, usageError{err})
	}
	logger := slog.New(slog.NewTextHandler(s.Err, &slog.HandlerOptions{Level: logLevel(cli.LogLevel)}))
	if err := parsed.Run(&invocation{ctx: ctx, out: s.Out, err: s.Err, logger: logger}); err != nil {
		return fail(s.Err, err)
	}
	return exitOK
}

func logLevel(name string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// fail prints err as one line and returns its exit code.
func fail(w io.Writer, err error) int {
	line := strings.Join(strings.Fields(err.Error()), " ")
	if code := fault.CodeOf(err); code != "" {
		line += " [" + code + "]"
	}
	_, _ = fmt.Fprintf(w, "noctua: %s\n", line) // nothing is left to do if the terminal is gone
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return exitInput
	}
	var f *fault.Error
	if errors.As(err, &f) {
		switch f.Kind {
		case fault.Invalid, fault.Unsupported, fault.NotFound, fault.Conflict:
			return exitInput
		case fault.Transient, fault.Internal:
			return exitInternal
		}
	}
	return exitInternal
}
