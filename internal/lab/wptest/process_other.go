//go:build !linux

package wptest

import (
	"errors"
	"os"
	"syscall"
)

// owner exists so that packages which import this one compile anywhere; there
// is no Debian WordPress to start here.
type owner struct{}

func currentOwner() *owner                        { return nil }
func (o *owner) take(string) error                { return nil }
func (o *owner) attributes() *syscall.SysProcAttr { return nil }
func makeFolder(bool) (*os.File, error)           { return nil, errors.ErrUnsupported }
func terminate(p *os.Process) error               { return p.Kill() }
func killGroup(p *os.Process) error               { return p.Kill() }
