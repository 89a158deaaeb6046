package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/noctua-screening/noctua/pkg/modelstore"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/services/segment"
)

// modelCommand keeps the models of a data folder.
type modelCommand struct {
	Install modelInstallCommand `cmd:"" help:"Check a model folder and copy it into the data folder."`
	List    modelListCommand    `cmd:"" help:"List the installed models."`
	Show    modelShowCommand    `cmd:"" help:"Show what a model is."`
	Use     modelUseCommand     `cmd:"" help:"Make an installed model the one that the data folder's commands run; shipped goes back."`
	Remove  modelRemoveCommand  `cmd:"" help:"Remove an installed model."`
}

// dataFlag names the data folder.
type dataFlag struct {
	Data string `help:"Data folder; the models lie in models/ inside it." default:"./noctua-data" env:"NOCTUA_DATA" placeholder:"DIR"`
}

type modelInstallCommand struct {
	dataFlag    `embed:""`
	OnnxRuntime string `name:"onnxruntime" help:"ONNX Runtime library instead of the one that make deps fetched." env:"NOCTUA_ONNXRUNTIME" placeholder:"FILE"`
	Use         bool   `help:"Make it the default as well."`
	Dir         string `arg:"" help:"Folder of a model: model.onnx, manifest.json and the golden tensors."`
}

// Run checks and installs.
func (c *modelInstallCommand) Run(inv *invocation) error {
	var golden unet.Golden
	store := storeOf(c.Data)
	e, added, err := store.Install(inv.ctx, c.Dir, func(ctx context.Context, dir string) error {
		engine, err := segment.OpenEngine(ctx, segment.EngineConfig{ModelDir: dir, Library: c.OnnxRuntime})
		if err != nil {
			return err
		}
		golden = engine.Golden()
		return engine.Close()
	})
	if err != nil {
		return err
	}
	if c.Use {
		if err := store.Use(e.String()); err != nil {
			return err
		}
	}
	model, err := unet.LoadModel(e.Dir)
	if err != nil {
		return err
	}
	done := "Installed"
	if !added {
		done = "Already installed"
	}
	next := fmt.Sprintf("Use it with --model %s, or everywhere on this data folder with: noctua model use %s", e, e)
	if c.Use {
		next = "It is the default of the data folder now; a Noctua that is running takes it at its next start."
	}
	_, err = fmt.Fprintf(inv.out, "%s %s in %s.\n\n%s\nChecked: manifest, SHA-256, and golden tensors (largest difference %.1g of %g allowed).\n%s\n",
		done, e, e.Dir, describeModel(model), golden.MaxDifference, golden.Tolerance, next)
	return err
}

type modelListCommand struct {
	dataFlag `embed:""`
}

// Run lists the shipped and the installed models; the one that is used without --model has a star.
func (c *modelListCommand) Run(inv *invocation) error {
	entries, err := storeOf(c.Data).List()
	if err != nil {
		return err
	}
	shipped, err := loadModel("")
	if err != nil {
		return err
	}
	chosen := false
	for _, e := range entries {
		chosen = chosen || e.Default
	}
	table := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	line := func(isDefault bool, name string, m *unet.Model, where string) {
		star := " "
		if isDefault {
			star = "*"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%.12s\t%.1f MB\t%s\n", star, name, m.Manifest.Sha256, float64(m.Bytes())/1e6, where) // errors come out at Flush
	}
	line(!chosen, modelstore.Shipped, shipped, fmt.Sprintf("in the program: %s %s", shipped.Manifest.Name, shipped.Manifest.Version))
	for _, e := range entries {
		m, err := unet.LoadModel(e.Dir)
		if err != nil {
			_, _ = fmt.Fprintf(table, "!\t%s\t\t\t%s: %s\n", e, e.Dir, err)
			continue
		}
		line(e.Default, e.String(), m, e.Dir)
	}
	return table.Flush()
}

type modelShowCommand struct {
	dataFlag `embed:""`
	Model    string `arg:"" optional:"" help:"Name of an installed model, folder of a model, or shipped; without it the one in use."`
}

// Run shows a model.
func (c *modelShowCommand) Run(inv *invocation) error {
	chosen, err := chooseModel(c.Data, c.Model)
	if err != nil {
		return err
	}
	model, err := loadModel(chosen.dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(inv.out, describeModel(model))
	return err
}

type modelUseCommand struct {
	dataFlag `embed:""`
	Model    string `arg:"" help:"NAME or NAME@VERSION of an installed model, or shipped."`
}

// Run chooses the default.
func (c *modelUseCommand) Run(inv *invocation) error {
	if err := storeOf(c.Data).Use(c.Model); err != nil {
		return err
	}
	_, err := fmt.Fprintf(inv.out, "%s is the default of %s now; a Noctua that is running takes it at its next start.\n", c.Model, c.Data)
	return err
}

type modelRemoveCommand struct {
	dataFlag `embed:""`
	Model    string `arg:"" help:"NAME or NAME@VERSION of an installed model."`
}

// Run removes a model.
func (c *modelRemoveCommand) Run(inv *invocation) error {
	if err := storeOf(c.Data).Remove(c.Model); err != nil {
		return err
	}
	_, err := fmt.Fprintf(inv.out, "Removed %s from %s.\n", c.Model, c.Data)
	return err
}

// describeModel says what a model is, from its manifest.
func describeModel(model *unet.Model) string {
	m := model.Manifest
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, licence %s\n", m.Name, m.Version, m.Licence)
	fmt.Fprintf(&b, "  SHA-256    %s (%.1f MB)\n", m.Sha256, float64(model.Bytes())/1e6)
	if m.Architecture != "" {
		fmt.Fprintf(&b, "  network    %s", m.Architecture)
		if m.Parameters != nil {
			fmt.Fprintf(&b, ", %d weights", *m.Parameters)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "  input      %d × %d pixels, field of view %g pixels wide\n", m.Input.WidthPx, m.Input.HeightPx, m.Input.FOVDiameterPx)
	fmt.Fprintf(&b, "  output     %s; vessel from a probability of %g\n", strings.Join(m.Output.Classes, ", "), m.Threshold)
	if m.Averaging != nil {
		fmt.Fprintf(&b, "  averages   %d views of a picture\n", len(m.Averaging.Flips))
	}
	for _, e := range m.Errors {
		fmt.Fprintf(&b, "  error      %s: a %g %% interval with every value (%s)\n", e.Measure, 100*e.Confidence, e.Source)
	}
	for _, t := range m.TrainingData {
		fmt.Fprintf(&b, "  trained on %s: %d pictures, %s, %s\n", t.Name, t.Images, t.Split, t.Licence)
	}
	for i := 0; i < len(m.Metrics); {
		first := m.Metrics[i]
		fmt.Fprintf(&b, "  stated     %s:", first.Set)
		for separator := " "; i < len(m.Metrics) && m.Metrics[i].Set == first.Set && m.Metrics[i].Protocol == first.Protocol; i++ {
			fmt.Fprintf(&b, "%s%s %g", separator, m.Metrics[i].Name, m.Metrics[i].Value)
			separator = ", "
		}
		fmt.Fprintf(&b, "\n             (%s)\n", first.Protocol)
	}
	return b.String()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
