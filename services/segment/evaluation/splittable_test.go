package evaluation

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestSplitFile(t *testing.T) {
	t.Parallel()
	files := []string{"images/a.png", "images/b.png", "images/c.png", "manual1/a.png", "manual1/b.png", "manual1/c.png"}
	for _, tc := range []struct {
		name, table string
		split       Split
		want        []string
		code        string
	}{
		{"test", "stem,split\na,fit\nb,validation\nc,test\n", Test, []string{"c test manual1/c.png -"}, ""},
		{"fitted and validated on are train", "stem,split\na,fit\nb,validation\nc,test\n", Train, []string{"a train manual1/a.png -", "b train manual1/b.png -"}, ""},
		{"a picture without a line", "stem,split\na,fit\nb,test\n", All, nil, "split-file-invalid"},
		{"an unknown split", "stem,split\na,fit\nb,test\nc,later\n", All, nil, "split-file-invalid"},
		{"no such columns", "name,part\na,fit\n", All, nil, "split-file-invalid"},
		{"empty", "", All, nil, "split-file-invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, files...)
			if err := os.WriteFile(filepath.Join(dir, splitFile), []byte(tc.table), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := Find(dir, tc.split)
			if fault.CodeOf(err) != tc.code || (err == nil) != (tc.code == "") {
				t.Fatalf("got the error %v, expected the code %q", err, tc.code)
			}
			if err == nil && !slices.Equal(found(t, d), tc.want) {
				t.Errorf("found %q, expected %q", found(t, d), tc.want)
			}
		})
	}
	if _, err := Find(folder(t, files...), Test); fault.CodeOf(err) != "split-unknown" {
		t.Errorf("without a split file, --split test gave %v", err)
	}
}
