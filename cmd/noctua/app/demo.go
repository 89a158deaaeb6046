package app

// demoCommand drops synthetic patients into a running Noctua.
type demoCommand struct {
	clientFlags `embed:""`
}

// Run makes and uploads the patients.
func (c *demoCommand) Run(inv *invocation) error { return nil }
