package evaluation

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Split is a part of a data set.
type Split string

// The splits. All is every picture.
const (
	Train Split = "train"
	Test  Split = "test"
	All   Split = "all"
)

// ParseSplit reads a split's name; "" is All.
func ParseSplit(name string) (Split, error) {
	switch s := Split(name); s {
	case "":
		return All, nil
	case Train, Test, All:
		return s, nil
	}
	return "", fault.New(fault.Invalid, "split-unknown", "There is no split %q: use train, test or all.", name)
}

// Layout is how a data set's files lie, and which split its users agree on.
type Layout string

// The layouts.
const (
	CHASE   Layout = "CHASE_DB1" // images/Image_01L.jpg, or all files in one folder as distributed; train 01–10, test 11–14, by child
	HRF     Layout = "HRF"       // images/01_dr.jpg; train 01–05 of each class, test 06–15
	DRIVE   Layout = "DRIVE"     // training/ and test/, each with images/, 1st_manual/, mask/
	Parts   Layout = "parts"     // train/ and test/, each a folder as below, e.g. FIVES
	Generic Layout = "folder"    // images/, manual1/, optional fov/; no split
)

// Folders by the names that data sets give them; the first one that is there counts.
var (
	pictureFolders = []string{"images", "Original"}
	labelFolders   = []string{"manual1", "1st_manual", "labels", "Ground truth"}
	fovFolders     = []string{"fov", "mask"}
)

// partFolders are the splits that are folders.
var partFolders = []struct {
	name string
	of   Split
}{{"training", Train}, {"train", Train}, {"test", Test}}

// firstObserver ends the names of CHASE_DB1's labels, which lie among its pictures as it is distributed.
const firstObserver = "_1stHO"

// Item is a picture with its label.
type Item struct {
	Name    string // the picture's stem
	Split   Split  // Train, Test, or All where the layout has none
	Picture string // paths
	Label   string
	FOV     string // "" where the data set has none
}

// Dataset is what was found in a folder.
type Dataset struct {
	Dir    string
	Layout Layout
	Split  Split
	Items  []Item // by name
	Notes  []string
}

// Find looks for labelled pictures in dir and returns those of a split. It reads names, no pixels.
//
// Faults: NotFound "dataset-missing" where dir is not a folder; Invalid "dataset-unknown" where it has no layout that is known,
// "dataset-empty" where no picture of the split has a label, "dataset-ambiguous", "split-unknown".
func Find(dir string, split Split) (*Dataset, error) {
	split, err := ParseSplit(string(split))
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fault.New(fault.NotFound, "dataset-missing", "%s is not a folder: give the folder of a data set, the one that holds images/ or DRIVE's training/ and test/.", dir)
	}
	d := &Dataset{Dir: dir, Split: split}
	if d.Layout = partsOf(dir); d.Layout != "" {
		for _, part := range partFolders {
			path := filepath.Join(dir, part.name)
			if folderIn(path, pictureFolders) == "" || split != All && split != part.of {
				continue
			}
			if err := d.collect(path, part.of); err != nil {
				return nil, err
			}
		}
	} else if err := d.collect(dir, All); err != nil {
		return nil, err
	}
	if err := d.nameApart(); err != nil {
		return nil, err
	}
	slices.SortFunc(d.Items, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	if len(d.Items) == 0 {
		return nil, fault.New(fault.Invalid, "dataset-empty", "No labelled picture of the split %q was found in %s (layout %s): %s", split, dir, d.Layout,
			"each picture in images/ needs a label of the same name, or of that name and a suffix, in manual1/ (1st_manual/ for DRIVE).")
	}
	return d, nil
}

// partsOf tells a set whose splits are folders: DRIVE by the name of its labels' folder or of its training pictures', Parts otherwise; ""
// is another one.
func partsOf(dir string) Layout {
	layout := Layout("")
	for _, part := range partFolders {
		path := filepath.Join(dir, part.name)
		switch {
		case folderIn(path, pictureFolders) == "":
		case part.name == "training" || isFolder(filepath.Join(path, "1st_manual")):
			return DRIVE
		default:
			layout = Parts
		}
	}
	return layout
}

// folderIn returns the path of the first of the folders that is in dir, "" where none is.
func folderIn(dir string, folders []string) string {
	for _, folder := range folders {
		if path := filepath.Join(dir, folder); isFolder(path) {
			return path
		}
	}
	return ""
}

// nameApart gives every picture a name of its own: sets with parts may use names twice.
func (d *Dataset) nameApart() error {
	seen := map[string]Item{}
	twice := false
	for _, item := range d.Items {
		other, ok := seen[item.Name]
		if ok && other.Split == item.Split {
			return fault.New(fault.Invalid, "dataset-ambiguous", "%s and %s have one name: leave one there.", other.Picture, item.Picture)
		}
		twice = twice || ok
		seen[item.Name] = item
	}
	for i := range d.Items {
		if twice {
			d.Items[i].Name = string(d.Items[i].Split) + "-" + d.Items[i].Name
		}
	}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// collect adds the pictures of a folder that holds images/. of is the split that the folder is, All where names decide.
func (d *Dataset) collect(dir string, of Split) error {
	pictures, labels, err := listLabelled(dir)
	if err != nil {
		return err
	}
	fovs, err := listFirst(dir, fovFolders)
	if err != nil {
		return err
	}
	if d.Layout == "" {
		d.Layout = layoutOf(pictures)
	}
	var table map[string]Split
	if d.Layout == Generic {
		if table, err = splitTable(dir); err != nil {
			return err
		}
		if table == nil && d.Split != All {
			return fault.New(fault.Invalid, "split-unknown", "%s has no split that Noctua knows (CHASE_DB1, HRF, and folders with train/ or training/ and test/ have): use --split all, or add a split.csv with the columns stem,split.", dir)
		}
	}
	stems := make([]string, len(pictures))
	for i, p := range pictures {
		stems[i] = stemOf(p)
	}
	for i, picture := range pictures {
		item := Item{Name: stems[i], Split: of, Picture: picture}
		if of == All {
			item.Split = splitOf(d.Layout, item.Name)
		}
		if table != nil {
			split, ok := table[item.Name]
			if !ok {
				return fault.New(fault.Invalid, "split-file-invalid", "%s has no line for %s: add one with fit, validation or test.", filepath.Join(dir, splitFile), item.Name)
			}
			item.Split = split
		}
		if d.Split != All && item.Split != d.Split {
			continue
		}
		if item.Label, err = partner(d.Layout, item.Name, stems, labels); err != nil {
			return err
		}
		if item.Label == "" {
			d.Notes = append(d.Notes, fmt.Sprintf("%s has no label and was left out", filepath.Base(picture)))
			continue
		}
		if item.FOV, err = partner(d.Layout, item.Name, stems, fovs); err != nil {
			return err
		}
		if item.FOV == "" && len(fovs) > 0 {
			d.Notes = append(d.Notes, fmt.Sprintf("%s has no mask of its field of view; the one that Noctua found counts", filepath.Base(picture)))
		}
		d.Items = append(d.Items, item)
	}
	return nil
}

// listLabelled lists pictures and labels: of a folder each, or of one folder that holds CHASE_DB1 as it is distributed.
func listLabelled(dir string) (pictures, labels []string, err error) {
	if folder := folderIn(dir, pictureFolders); folder != "" {
		if pictures, err = listPictures(folder); err != nil {
			return nil, nil, err
		}
		labels, err = listFirst(dir, labelFolders)
		return pictures, labels, err
	}
	all, err := listPictures(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, path := range all {
		switch name, label := strings.CutSuffix(stemOf(path), firstObserver); {
		case numberOf(CHASE, name) == 0:
		case label:
			labels = append(labels, path)
		default:
			pictures = append(pictures, path)
		}
	}
	if len(pictures) == 0 {
		return nil, nil, fault.New(fault.Invalid, "dataset-unknown", "%s is not a data set that Noctua knows: expected images/ and manual1/, or DRIVE's training/ and test/.", dir)
	}
	return pictures, labels, nil
}

// listFirst lists the first of the folders that is there; none is an empty list.
func listFirst(dir string, folders []string) ([]string, error) {
	if path := folderIn(dir, folders); path != "" {
		return listPictures(path)
	}
	return nil, nil
}

// listPictures returns the paths of the picture files of a folder, by name.
func listPictures(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		known := slices.Contains(pixel.PictureExtensions, strings.ToLower(filepath.Ext(e.Name())))
		if known && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

func stemOf(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// partner returns the file of a picture among files: the same stem, else the picture's stem and a suffix; in DRIVE the same
// number. "" where there is none.
func partner(layout Layout, name string, names, files []string) (string, error) {
	var found []string
	for _, file := range files {
		stem := stemOf(file)
		if stem == name {
			return file, nil
		}
		if layout == DRIVE {
			if number, _, _ := strings.Cut(stem, "_"); number == strings.SplitN(name, "_", 2)[0] {
				found = append(found, file)
			}
			continue
		}
		if belongs(stem, name) && !slices.ContainsFunc(names, func(other string) bool {
			return len(other) > len(name) && (stem == other || belongs(stem, other)) // eye_1_label is eye_1's, not eye's
		}) {
			found = append(found, file)
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", fault.New(fault.Invalid, "dataset-ambiguous", "The picture %s has more than one partner in %s (%s, %s): leave one there.",
		name, filepath.Dir(found[0]), filepath.Base(found[0]), filepath.Base(found[1]))
}

// belongs tells whether a stem is a name and a suffix that is set off from it.
func belongs(stem, name string) bool {
	rest, ok := strings.CutPrefix(stem, name)
	return ok && rest != "" && strings.ContainsAny(rest[:1], "_-. ")
}

// layoutOf tells a data set by the names of its pictures: all of them must be the set's.
func layoutOf(pictures []string) Layout {
	for _, layout := range []Layout{CHASE, HRF} {
		if len(pictures) > 0 && !slices.ContainsFunc(pictures, func(p string) bool { return numberOf(layout, stemOf(p)) == 0 }) {
			return layout
		}
	}
	return Generic
}

// numberOf returns the number in a picture's name, 0 where the name is not of the layout.
func numberOf(layout Layout, name string) int {
	pattern := `^Image_(\d\d)[LR]$`
	if layout == HRF {
		pattern = `^(\d\d)_(?:h|dr|g)$`
	}
	match := regexp.MustCompile(pattern).FindStringSubmatch(name)
	if match == nil {
		return 0
	}
	n, err := strconv.Atoi(match[1])
	if err != nil {
		return 0 // two digits are always a number
	}
	return n
}

// splitOf says where the users of a set put a picture: by child in CHASE_DB1, so that no eye's fellow is trained on.
func splitOf(layout Layout, name string) Split {
	lastTrained := map[Layout]int{CHASE: 10, HRF: 5}[layout]
	switch n := numberOf(layout, name); {
	case layout != CHASE && layout != HRF:
		return All
	case n <= lastTrained:
		return Train
	}
	return Test
}
