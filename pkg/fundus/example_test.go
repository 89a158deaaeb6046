package fundus_test

import (
	"fmt"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// From a photograph to what a network takes, and from its map back to the photograph.
func Example() {
	photograph := scene{width: 640, height: 560, cx: 320, cy: 280, r: 250, noise: 1}.draw()
	fov, err := fundus.FindFOV(photograph)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("field of view: radius %.0f, %.0f %% of the frame\n", fov.Radius, 100*fov.Coverage())

	canvas, err := fundus.NewCanvas(fov, 800, 800, 768)
	if err != nil {
		fmt.Println(err)
		return
	}
	image, err := canvas.ToCanvas(photograph)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := fundus.Normalise(image, canvas.Mask()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("network input: %d × %d, %d values\n", image.Width, image.Height, len(image.Pix))

	probabilities := raster.NewPlane(800, 800) // what the network would give
	mask, err := canvas.MaskFromCanvas(probabilities, .5)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("mask: %d × %d\n", mask.Width, mask.Height)
	// Output:
	// field of view: radius 250, 55 % of the frame
	// network input: 800 × 800, 1920000 values
	// mask: 640 × 560
}
