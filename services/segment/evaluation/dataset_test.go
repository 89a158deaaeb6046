package evaluation

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// folder makes empty files.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// found lists name, label and FOV of the items, relative to dir.
func found(t *testing.T, d *Dataset) []string {
	t.Helper()
	var out []string
	for _, i := range d.Items {
		rel := func(path string) string {
			if path == "" {
				return "-"
			}
			r, err := filepath.Rel(d.Dir, path)
			if err != nil {
				t.Fatal(err)
			}
			return filepath.ToSlash(r)
		}
		out = append(out, strings.Join([]string{i.Name, string(i.Split), rel(i.Label), rel(i.FOV)}, " "))
	}
	return out
}

func TestFind(t *testing.T) {
	t.Parallel()
	chase := []string{"images/Image_10R.jpg", "images/Image_11L.jpg", "manual1/Image_10R_1stHO.png", "manual1/Image_11L_1stHO.png", "fov/Image_10R.png", "fov/Image_11L.png"}
	hrf := []string{"images/05_g.JPG", "images/06_dr.JPG", "manual1/05_g.tif", "manual1/06_dr.tif", "mask/05_g_mask.tif", "mask/06_dr_mask.tif"}
	drive := []string{
		"training/images/21_training.tif", "training/1st_manual/21_manual1.gif", "training/mask/21_training_mask.gif",
		"test/images/01_test.tif", "test/1st_manual/01_manual1.gif", "test/mask/01_test_mask.gif", "test/2nd_manual/01_manual2.gif",
	}
	for _, tc := range []struct {
		name   string
		files  []string
		split  Split
		layout Layout
		want   []string
		notes  int
	}{
		{"CHASE test", chase, Test, CHASE, []string{"Image_11L test manual1/Image_11L_1stHO.png fov/Image_11L.png"}, 0},
		{"CHASE train", chase, Train, CHASE, []string{"Image_10R train manual1/Image_10R_1stHO.png fov/Image_10R.png"}, 0},
		{"CHASE all", chase, "", CHASE, []string{
			"Image_10R train manual1/Image_10R_1stHO.png fov/Image_10R.png", "Image_11L test manual1/Image_11L_1stHO.png fov/Image_11L.png"}, 0},
		{"HRF test", hrf, Test, HRF, []string{"06_dr test manual1/06_dr.tif mask/06_dr_mask.tif"}, 0},
		{"HRF train", hrf, Train, HRF, []string{"05_g train manual1/05_g.tif mask/05_g_mask.tif"}, 0},
		{"DRIVE test", drive, Test, DRIVE, []string{"01_test test test/1st_manual/01_manual1.gif test/mask/01_test_mask.gif"}, 0},
		{"DRIVE all", drive, All, DRIVE, []string{
			"01_test test test/1st_manual/01_manual1.gif test/mask/01_test_mask.gif", "21_training train training/1st_manual/21_manual1.gif training/mask/21_training_mask.gif"}, 0},
		{"CHASE as distributed, in one folder", []string{"Image_11L.jpg", "Image_11L_1stHO.png", "Image_11L_2ndHO.png", "Image_10R.jpg", "Image_10R_1stHO.png"}, Test, CHASE,
			[]string{"Image_11L test Image_11L_1stHO.png -"}, 0},
		{"DRIVE, training part alone", drive[:3], All, DRIVE, []string{"21_training train training/1st_manual/21_manual1.gif training/mask/21_training_mask.gif"}, 0},
		{"DRIVE, test part alone", drive[3:], Test, DRIVE, []string{"01_test test test/1st_manual/01_manual1.gif test/mask/01_test_mask.gif"}, 0},
		{"FIVES, whose parts use names twice", []string{"train/Original/1_A.png", "train/Ground truth/1_A.png", "test/Original/1_A.png", "test/Ground truth/1_A.png"}, All, Parts,
			[]string{"test-1_A test test/Ground truth/1_A.png -", "train-1_A train train/Ground truth/1_A.png -"}, 0},
		{"FIVES test", []string{"train/Original/1_A.png", "train/Ground truth/1_A.png", "test/Original/1_A.png", "test/Ground truth/1_A.png"}, Test, Parts,
			[]string{"1_A test test/Ground truth/1_A.png -"}, 0},
		{"folder", []string{"images/eye.png", "images/eye_2.png", "images/unmarked.png", "images/.hidden.png", "images/notes.txt",
			"manual1/eye_label.png", "manual1/eye_2_label.png", "manual1/README.md"}, All, Generic,
			[]string{"eye all manual1/eye_label.png -", "eye_2 all manual1/eye_2_label.png -"}, 1},
		{"folder with one field of view", []string{"images/a.png", "images/b.png", "manual1/a.gif", "manual1/b.gif", "fov/a.gif"}, All, Generic,
			[]string{"a all manual1/a.gif fov/a.gif", "b all manual1/b.gif -"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, err := Find(folder(t, tc.files...), tc.split)
			if err != nil {
				t.Fatal(err)
			}
			if d.Layout != tc.layout || !slices.Equal(found(t, d), tc.want) || len(d.Notes) != tc.notes {
				t.Errorf("layout %s with %q, notes %q\nwant %s with %q, %d notes", d.Layout, found(t, d), d.Notes, tc.layout, tc.want, tc.notes)
			}
		})
	}
}

func TestFindRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		files []string
		split Split
		code  string
	}{
		{"no images folder", []string{"pictures/a.png"}, All, "dataset-unknown"},
		{"no labels at all", []string{"images/a.png"}, All, "dataset-empty"},
		{"zero matches", []string{"images/a.png", "manual1/b.png"}, All, "dataset-empty"},
		{"a longer name is no suffix", []string{"images/a1.png", "manual1/a10.png"}, All, "dataset-empty"},
		{"pictures in no folder", []string{"a.png", "a_1stHO.png"}, All, "dataset-unknown"},
		{"labels in no folder that is known", []string{"images/a.png", "truth/a.png"}, All, "dataset-empty"},
		{"two pictures of one name", []string{"images/a.png", "images/a.jpg", "manual1/a.png"}, All, "dataset-ambiguous"},
		{"parts without labels", []string{"train/images/a.png", "test/images/a.png"}, Test, "dataset-empty"},
		{"two labels", []string{"images/a.png", "manual1/a_1.png", "manual1/a_2.png"}, All, "dataset-ambiguous"},
		{"a split that the folder does not have", []string{"images/a.png", "manual1/a.png"}, Test, "split-unknown"},
		{"a split that nobody has", []string{"images/a.png", "manual1/a.png"}, "validation", "split-unknown"},
		{"an empty split", []string{"images/Image_01L.jpg", "manual1/Image_01L_1stHO.png"}, Test, "dataset-empty"},
		{"DRIVE as it is distributed: no test labels", []string{"test/images/01_test.tif", "test/mask/01_test_mask.gif"}, Test, "dataset-empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, err := Find(folder(t, tc.files...), tc.split)
			if fault.CodeOf(err) != tc.code || fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v and error %v, want an invalid %q", d, err, tc.code)
			}
		})
	}
	if _, err := Find(filepath.Join(t.TempDir(), "nowhere"), All); fault.CodeOf(err) != "dataset-missing" {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestFindRealSets counts the splits of the sets as their README states them.
func TestFindRealSets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		set              string
		layout           Layout
		train, test, all int
	}{{"CHASE_DB1", CHASE, 20, 8, 28}, {"HRF", HRF, 15, 30, 45}} {
		dir := shared.Dir(t, "data", tc.set)
		for split, want := range map[Split]int{Train: tc.train, Test: tc.test, All: tc.all} {
			d, err := Find(dir, split)
			if err != nil {
				t.Fatal(err)
			}
			if d.Layout != tc.layout || len(d.Items) != want || len(d.Notes) != 0 {
				t.Errorf("%s, split %s: layout %s, %d pictures, notes %q; want %s, %d, none", tc.set, split, d.Layout, len(d.Items), d.Notes, tc.layout, want)
			}
			for _, i := range d.Items {
				if i.FOV == "" {
					t.Errorf("%s: %s has no field of view", tc.set, i.Name)
				}
			}
		}
	}
}
