package completion

import (
	"fmt"
	"strings"
)

// walk is the part that bash and zsh share: it finds the command that the words
// before the cursor name.
func walk(text *strings.Builder, places []place) {
	text.WriteString("  case \"$path $word\" in\n")
	for _, p := range places[1:] {
		fmt.Fprintf(text, "    ' %s') path=\"$path $word\" ;;\n", strings.Join(p.path, " "))
	}
	text.WriteString("  esac\n")
}

func key(p place) string {
	if len(p.path) == 0 {
		return ""
	}
	return " " + strings.Join(p.path, " ")
}

func bash(program string, places []place) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# Completion of %s for bash; put it into ~/.bashrc with:\n#   source <(%s completion bash)\n_%s() {\n", program, program, program)
	text.WriteString("  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" path=\"\" word words=\"\"\n")
	text.WriteString("  case \"$prev\" in\n")
	for _, f := range valued(places) {
		if f.file {
			fmt.Fprintf(&text, "    %s) compopt -o default; COMPREPLY=(); return ;;\n", f.name)
		} else {
			fmt.Fprintf(&text, "    %s) mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\"); return ;;\n", f.name, strings.Join(f.values, " "))
		}
	}
	text.WriteString("  esac\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n")
	walk(&text, places)
	text.WriteString("  done\n  case \"$path\" in\n")
	for _, p := range places {
		fmt.Fprintf(&text, "    '%s') words='%s' ;;\n", key(p), strings.Join(p.names(), " "))
	}
	text.WriteString("  esac\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\n")
	fmt.Fprintf(&text, "complete -F _%s %s\n", program, program)
	return text.String()
}

func zsh(program string, places []place) string {
	var text strings.Builder
	fmt.Fprintf(&text, "#compdef %s\n# Completion of %s for zsh; put it into ~/.zshrc, after compinit, with:\n#   source <(%s completion zsh)\n_%s() {\n", program, program, program, program)
	text.WriteString("  local path_='' path='' word prev=\"${words[CURRENT-1]}\"\n  local -a entries\n")
	text.WriteString("  case \"$prev\" in\n")
	for _, f := range valued(places) {
		if f.file {
			fmt.Fprintf(&text, "    %s) _files; return ;;\n", f.name)
		} else {
			fmt.Fprintf(&text, "    %s) compadd -- %s; return ;;\n", f.name, strings.Join(f.values, " "))
		}
	}
	text.WriteString("  esac\n  for word in \"${(@)words[2,CURRENT-1]}\"; do\n")
	walk(&text, places)
	text.WriteString("  done\n  case \"$path\" in\n")
	for _, p := range places {
		var entries []string
		for _, value := range p.values {
			entries = append(entries, "'"+value+"'")
		}
		for _, command := range p.commands {
			entries = append(entries, "'"+command.name+":"+command.help+"'")
		}
		for _, f := range p.flags {
			entries = append(entries, "'"+f.name+":"+f.help+"'")
		}
		fmt.Fprintf(&text, "    '%s') entries=(%s) ;;\n", key(p), strings.Join(entries, " "))
	}
	fmt.Fprintf(&text, "  esac\n  _describe '%s' entries\n}\ncompdef _%s %s\n", program, program, program)
	// `path` is tied to PATH in zsh.
	return strings.NewReplacer("local path_='' path=''", "local place=''", "$path", "$place", "path=\"", "place=\"").Replace(text.String())
}

func fish(program string, places []place) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# Completion of %s for fish; install it with:\n#   %s completion fish > ~/.config/fish/completions/%s.fish\n", program, program, program)
	fmt.Fprintf(&text, "function __%s_at\n  set -l place\n  for word in (commandline -opc)[2..]\n    switch \"$place $word\"\n", program)
	for _, p := range places[1:] {
		fmt.Fprintf(&text, "      case ' %s'\n        set place \"$place $word\"\n", strings.Join(p.path, " "))
	}
	fmt.Fprintf(&text, "    end\n  end\n  test \"$place\" = \"$argv[1]\"\nend\ncomplete -c %s -f\n", program)
	for _, p := range places {
		at := fmt.Sprintf("complete -c %s -n '__%s_at \"%s\"'", program, program, key(p))
		for _, value := range p.values {
			fmt.Fprintf(&text, "%s -a '%s'\n", at, value)
		}
		for _, command := range p.commands {
			fmt.Fprintf(&text, "%s -a '%s' -d '%s'\n", at, command.name, command.help)
		}
		for _, f := range p.flags {
			line := fmt.Sprintf("%s -l '%s' -d '%s'", at, strings.TrimPrefix(f.name, "--"), f.help)
			switch {
			case f.file:
				line += " -r -F"
			case len(f.values) > 0:
				line += " -x -a '" + strings.Join(f.values, " ") + "'"
			case f.takes:
				line += " -x"
			}
			text.WriteString(line + "\n")
		}
	}
	return text.String()
}
