// Package completion writes the scripts with which shells complete a program's
// command line: commands, flags, and values where they are few. The scripts are
// made from the program's own commands and are complete in themselves: nothing
// is asked while a person types.
package completion

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells are those for which there is a script.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Script returns the script of a shell for a program.
func Script(shell string, program *kong.Application) (string, error) {
	places := placesOf(program.Node, nil)
	switch shell {
	case "bash":
		return bash(program.Name, places), nil
	case "zsh":
		return zsh(program.Name, places), nil
	case "fish":
		return fish(program.Name, places), nil
	}
	return "", fmt.Errorf("no completion for %q: use one of %s", shell, strings.Join(Shells(), ", "))
}

// place is a point of the command line: the program itself or a command.
type place struct {
	path     []string // empty: the program itself
	commands []word
	flags    []flag
	values   []string // of its argument
}

type word struct{ name, help string }

type flag struct {
	name, help string
	values     []string // few enough to be listed
	takes      bool     // it takes a value
	file       bool
}

func placesOf(node *kong.Node, path []string) []place {
	here := place{path: path}
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			if !slices.ContainsFunc(here.flags, func(known flag) bool { return known.name == "--"+f.Name }) {
				here.flags = append(here.flags, flag{
					name: "--" + f.Name, help: firstSentence(f.Help), values: enum(f.Value),
					takes: !f.IsBool(), file: f.PlaceHolder == "PATH",
				})
			}
		}
	}
	for _, argument := range node.Positional {
		here.values = append(here.values, enum(argument)...)
	}
	all := []place{}
	for _, child := range node.Children {
		if child.Hidden {
			continue
		}
		here.commands = append(here.commands, word{child.Name, firstSentence(child.Help)})
		all = append(all, placesOf(child, append(slices.Clone(path), child.Name))...)
	}
	return append([]place{here}, all...)
}

func enum(value *kong.Value) []string {
	return slices.DeleteFunc(value.EnumSlice(), func(s string) bool { return s == "" })
}

func firstSentence(text string) string {
	text, _, _ = strings.Cut(text, ". ")
	return strings.TrimSuffix(strings.NewReplacer("'", "’", "`", "", "[", "(", "]", ")", ":", "").Replace(text), ".")
}

// names are what may stand at a place.
func (p place) names() []string {
	names := slices.Clone(p.values)
	for _, command := range p.commands {
		names = append(names, command.name)
	}
	for _, f := range p.flags {
		names = append(names, f.name)
	}
	return names
}

// valued returns the flags that take a file or one of few values, once each.
func valued(places []place) []flag {
	var found []flag
	for _, p := range places {
		for _, f := range p.flags {
			if (f.file || len(f.values) > 0) && !slices.ContainsFunc(found, func(k flag) bool { return k.name == f.name }) {
				found = append(found, f)
			}
		}
	}
	return found
}
