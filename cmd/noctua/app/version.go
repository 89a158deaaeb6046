package app

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the Makefile at link time; it is read through codeVersion alone.
var version string

// codeVersion is the version of this program: what git describes, else the module's version or revision.
func codeVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			return info.Main.Version
		}
	}
	return "development"
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(inv *invocation) error {
	_, err := fmt.Fprintf(inv.out, "noctua %s (%s, %s/%s)\n", codeVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
