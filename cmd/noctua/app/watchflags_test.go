package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWatchFlags: what is wrong with a watched folder is said before anything is started.
func TestWatchFlags(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	data, share := filepath.Join(base, "data"), filepath.Join(base, "share")
	for _, dir := range []string{filepath.Join(data, "drop"), filepath.Join(share, "inner")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		watch []string
		says  string
	}{
		"no clinic":              {[]string{share}, "--watch north=/srv/camera"},
		"no folder":              {[]string{"north="}, "--watch north=/srv/camera"},
		"a bad clinic":           {[]string{"no/rth=" + share}, `"no/rth"`},
		"the data folder":        {[]string{"north=" + data}, "beside each other"},
		"inside the data folder": {[]string{"north=" + filepath.Join(data, "drop")}, "beside each other"},
		"around the data folder": {[]string{"north=" + base}, "beside each other"},
		"a link to it":           {[]string{"north=" + link}, "beside each other"},
		"twice":                  {[]string{"north=" + share, "south=" + share + "/"}, "watch each folder once"},
		"one in another":         {[]string{"north=" + filepath.Join(share, "inner"), "south=" + share}, "watch each folder once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"run", "--data", data}
			for _, w := range c.watch {
				args = append(args, "--watch", w)
			}
			_, errs := want(t, exitUsage, args...)
			contains(t, errs, c.says)
		})
	}
	_, errs := want(t, exitUsage, "run", "--data", data, "--watch", "north="+share, "--watch-settle", "0s")
	contains(t, errs, "--watch-settle")

	// Folders beside each other, with names that begin alike, of one clinic, and one that is not there yet.
	flags := watchFlags{Watch: []string{"north=" + share, "north=" + share + "2", "south=" + filepath.Join(base, "..data"), "south=relative"}, WatchSettle: time.Second}
	folders, err := flags.folders(data)
	if err != nil || len(folders) != 4 || folders[0].Clinic != "north" || folders[1].Dir != share+"2" || !filepath.IsAbs(folders[3].Dir) || folders[2].SettleFor != time.Second {
		t.Errorf("%+v, %v", folders, err)
	}
	contains(t, flags.announcement(), share+"2   for clinic north", "for clinic south")
}

// TestWatchFromEnvironmentAndFile: several folders are a list in the file, and stand between semicolons in the environment.
func TestWatchFromEnvironmentAndFile(t *testing.T) {
	config := filepath.Join(t.TempDir(), "noctua.yaml")
	if err := os.WriteFile(config, []byte("watch:\n  - north=/one\n  - so/uth=/two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs := want(t, exitUsage, "run", "--data", t.TempDir(), "--config", config)
	contains(t, errs, `"so/uth"`)
	t.Setenv("NOCTUA_WATCH", strings.Join([]string{"north=/one", "we/st=/two"}, ";"))
	_, errs = want(t, exitUsage, "run", "--data", t.TempDir(), "--config", config)
	contains(t, errs, `"we/st"`)
}
