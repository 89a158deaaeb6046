package app

import (
	"errors"
	"fmt"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/report/store"
)

// migrateCommand brings the report index to the newest schema, which services do as well when they start.
type migrateCommand struct {
	databaseFlags `embed:""`
	Check         bool `help:"Only tell whether there is something to do."`
}

// Run migrates, or tells.
func (c *migrateCommand) Run(inv *invocation) (err error) {
	db, err := c.openDatabase(inv.ctx, lookAfter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if c.Check {
		pending, err := store.Pending(inv.ctx, db.DB, db.dialect)
		if err != nil {
			return err
		}
		if len(pending) > 0 {
			return fault.New(fault.Conflict, "index-outdated", "the report index lacks %d migrations (%v); run noctua migrate, or start a service", len(pending), pending)
		}
		_, err = fmt.Fprintln(inv.out, "The report index has the newest schema.")
		return err
	}
	done, err := store.Migrate(inv.ctx, db.DB, db.dialect)
	if err != nil {
		return err
	}
	if len(done) == 0 {
		_, err = fmt.Fprintln(inv.out, "The report index has the newest schema already.")
		return err
	}
	_, err = fmt.Fprintf(inv.out, "The report index has the newest schema now, by %d migrations (%v).\n", len(done), done)
	return err
}
