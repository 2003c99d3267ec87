// Package config reads and writes recipes: structs of documented keys, from YAML and from arguments path=value.
package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A recipe is a struct whose fields carry the tags `yaml:"key"` and `doc:"text"`.
// This file reads and writes any such struct; fields are strings, booleans,
// numbers, lists of strings, pointers to scalars (nil: not set) and groups,
// which are structs again.

// Shorthand is a group that a single string may stand for, as in "model: DIR".
type Shorthand interface {
	SetShort(s string) // replaces the whole group
	Short() string     // empty when the keys of the group count
}

// Field describes one key of a recipe.
type Field struct {
	Path    string // as in path=value
	Type    string // text, yes/no, whole number, number, list
	Default string // as it would be written; empty when not set
	Doc     string
}

// setting is one key and where its value lives; exactly one of value and group is valid.
type setting struct {
	path  string
	doc   string
	value reflect.Value // a scalar, a pointer to one, or a list
	group Shorthand     // for the string form of a group
}

// settings lists the keys of the recipe that config points to, in the order of its fields.
func settings(config any) []setting {
	return appendSettings(nil, "", reflect.ValueOf(config).Elem())
}

// appendSettings walks a struct in the order of its fields, which is that of --help and of recipe.yaml. Embedded structs add their keys without a prefix.
func appendSettings(all []setting, prefix string, group reflect.Value) []setting {
	for i := range group.NumField() {
		f := group.Type().Field(i)
		if f.Anonymous { // keys that several recipes share
			all = appendSettings(all, prefix, group.Field(i))
			continue
		}
		key := f.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		s := setting{path: prefix + key, doc: f.Tag.Get("doc"), value: group.Field(i)}
		if s.value.Kind() != reflect.Struct {
			all = append(all, s)
			continue
		}
		if g, ok := s.value.Addr().Interface().(Shorthand); ok {
			all = append(all, setting{path: s.path, doc: s.doc, group: g})
		}
		all = appendSettings(all, s.path+".", s.value)
	}
	return all
}

// Fields lists every key of the recipe that config points to, with the present values as defaults.
func Fields(config any) []Field {
	var fields []Field
	for _, s := range settings(config) {
		fields = append(fields, Field{Path: s.path, Type: s.typeName(), Default: s.text(), Doc: s.doc})
	}
	return fields
}

// Decode changes the recipe that config points to by the YAML text, whose name stands
// in errors. Unknown keys, keys given twice and values of another type are errors with
// the line and, where there is one, the nearest key.
func Decode(config any, name string, text []byte) error {
	d := decoder{name: name, settings: settings(config), seen: map[string]int{}}
	if err := d.notText(text); err != nil {
		return err
	}
	var docs []yaml.Node
	if err := yaml.Load(text, &docs, yaml.WithAllDocuments()); err != nil {
		return d.slip(text, err)
	}
	docs = slices.DeleteFunc(docs, func(n yaml.Node) bool { return len(n.Content) == 0 || n.Content[0].Tag == "!!null" })
	if len(docs) == 0 {
		return nil
	}
	if len(docs) > 1 { // its keys would be left out without a word
		return d.fail(docs[1].Content[0], "a second document begins here; a recipe is one, so take out the line of dashes before it")
	}
	root := resolve(docs[0].Content[0])
	if root.Kind != yaml.MappingNode {
		return d.fail(root, "a recipe is a list of lines KEY: VALUE%s", d.orData())
	}
	return d.mapping("", root, 0)
}

// decoder walks the nodes of one YAML text.
type decoder struct {
	name     string
	settings []setting
	seen     map[string]int // lines of the keys so far; of all groups, since optimizer.eps may be written as a key of the group and with a point
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", d.name, n.Line, fmt.Sprintf(format, args...))
}

// maxDepth is deeper than any recipe's groups; a document that refers to itself ends here.
const maxDepth = 8

// mapping reads the keys of a group. Its depth is bounded, because an alias may stand for the node that it is in.
func (d *decoder) mapping(prefix string, n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return d.fail(n, "groups are nested too deeply")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		if key.Kind != yaml.ScalarNode {
			return d.fail(key, "a key must be a plain word")
		}
		path := prefix + key.Value
		if line, twice := d.seen[path]; twice {
			return d.fail(key, "%s was given in line %d already; leave one of them out", path, line)
		}
		d.seen[path] = key.Line
		if err := d.entry(path, key, value, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry stores a key's value, or walks a group. A group may have a single value, too, where it is a Shorthand.
func (d *decoder) entry(path string, key, value *yaml.Node, depth int) error {
	s, group := find(d.settings, path)
	switch {
	case s == nil && !group:
		return d.fail(key, "unknown key %q%s%s", path, suggestion(d.settings, path), d.orData())
	case group && value.Kind == yaml.MappingNode:
		return d.mapping(path+".", value, depth+1)
	case s == nil && value.Tag == "!!null":
		return nil // a group with all its lines commented out
	case s == nil:
		return d.fail(value, "%s is a group of keys; write its keys in the lines below it", path)
	}
	if value.Tag == "!!null" && !s.optional() {
		return d.fail(key, "%s has no value; give it one or leave the line out", path)
	}
	if err := s.setNode(value); err != nil {
		return d.fail(value, "%v", err)
	}
	return nil
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// find looks a key up; group reports whether other keys lie under it.
func find(all []setting, path string) (s *setting, group bool) {
	for i := range all {
		if all[i].path == path {
			s = &all[i]
		}
		group = group || strings.HasPrefix(all[i].path, path+".")
	}
	return s, group
}

// Override changes the recipe that config points to by arguments "path=value", with the
// checks of Decode. A list is written a,b or [a, b].
func Override(config any, args []string) error {
	all := settings(config)
	seen := make(map[string]bool)
	for _, arg := range args {
		path, text, ok := strings.Cut(arg, "=")
		if !ok {
			return notSet(all, arg)
		}
		if seen[path] {
			return fmt.Errorf("%s is given twice on the command line; leave one of them out", path)
		}
		seen[path] = true
		s, group := find(all, path)
		switch {
		case path == "":
			return notSet(all, arg)
		case s != nil && text == "" && s.group == nil && s.scalarType().Kind() != reflect.String && s.value.Kind() != reflect.Slice:
			return fmt.Errorf("%s has no value; give it one or leave it out", path)
		case s != nil:
			if err := s.set(text); err != nil {
				return err
			}
		case group:
			return fmt.Errorf("%s is a group of keys; set one of them, as in %s", path, firstIn(all, path)+"=VALUE")
		default:
			return fmt.Errorf("unknown key %q%s", path, suggestion(all, path))
		}
	}
	return nil
}

// notSet says what is wrong with an argument that sets no key: most often spaces around its equals sign.
func notSet(all []setting, arg string) error {
	if s, _ := find(all, arg); s != nil {
		return fmt.Errorf("argument %q has no value; write %s=VALUE, without spaces", arg, arg)
	}
	return fmt.Errorf("argument %q is not path=value, as in %s=VALUE", arg, all[0].path)
}

func firstIn(all []setting, group string) string {
	for _, s := range all {
		if strings.HasPrefix(s.path, group+".") {
			return s.path
		}
	}
	return group
}

// Encode writes the recipe that config points to as YAML that Decode reads back to the
// same values. Keys that are not set are left out.
func Encode(config any) ([]byte, error) { return encode(settings(config)) }

// EncodeChanged writes only the keys that differ from those of defaults, a recipe of the same kind.
func EncodeChanged(config, defaults any) ([]byte, error) {
	usual := Flatten(defaults)
	return encode(slices.DeleteFunc(settings(config), func(s setting) bool {
		value, set := usual[s.path]
		return set && value == s.text()
	}))
}

// encode writes keys in the order of their fields, groups where their first key stands.
func encode(all []setting) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	groups := map[string]*yaml.Node{"": root}
	for _, s := range all {
		n := s.node()
		if n == nil {
			continue
		}
		dir, key := splitPath(s.path)
		appendPair(groupNode(groups, dir), key, n)
	}
	return yaml.Dump(root)
}

// groupNode returns the node of the group at a path. Where there is none it is made, and so are the groups around it.
func groupNode(groups map[string]*yaml.Node, path string) *yaml.Node {
	if n := groups[path]; n != nil {
		return n
	}
	parent, name := splitPath(path)
	n := &yaml.Node{Kind: yaml.MappingNode}
	appendPair(groupNode(groups, parent), name, n)
	groups[path] = n
	return n
}

func splitPath(path string) (dir, key string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

func appendPair(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
}

// Flatten lists the keys that are set and their values as text, to compare recipes.
func Flatten(config any) map[string]string {
	flat := make(map[string]string)
	for _, s := range settings(config) {
		if s.node() != nil {
			flat[s.path] = s.text()
		}
	}
	return flat
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
