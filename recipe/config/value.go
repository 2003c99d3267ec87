package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// optional reports whether the key may be unset, which YAML writes as an empty value.
func (s *setting) optional() bool {
	return s.group != nil || s.value.Kind() == reflect.Pointer
}

// scalarType is the type of the value behind an optional pointer.
func (s *setting) scalarType() reflect.Type {
	if s.value.Kind() == reflect.Pointer {
		return s.value.Type().Elem()
	}
	return s.value.Type()
}

// typeName is the type in the words of errors and of help.
func (s *setting) typeName() string {
	if s.group != nil {
		return "text"
	}
	switch s.scalarType().Kind() {
	case reflect.Bool:
		return "true/false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "whole number"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	}
	return "text"
}

// plain says whether text may be a value. A NUL is refused with what is no UTF-8: no path may have one.
func plain(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// set parses text by the type of the key and stores it.
func (s *setting) set(text string) error {
	if !plain(text) {
		return fmt.Errorf("%s is not valid UTF-8 text", s.path)
	}
	if s.group != nil {
		s.group.SetShort(text)
		return nil
	}
	if s.value.Kind() == reflect.Slice {
		if list := inBrackets(text); list != nil {
			return s.setNode(list)
		}
		return s.setList(splitList(text))
	}
	v := reflect.New(s.scalarType()).Elem()
	if err := parse(v, text); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if s.value.Kind() == reflect.Pointer {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p
	}
	s.value.Set(v)
	return nil
}

// inBrackets is the list that text is written as in a recipe, [a, b]; nil where it is none, as the patterns [ab]*.go and [ab][cd]. Of the pattern [ab]
// it makes a list of ab; that pattern is ./[ab].
func inBrackets(text string) *yaml.Node {
	var document yaml.Node
	if !strings.HasPrefix(text, "[") || !strings.HasSuffix(text, "]") || yaml.Load([]byte(text), &document) != nil {
		return nil
	}
	if n := document.Content[0]; n.Kind == yaml.SequenceNode {
		return n
	}
	return nil
}

func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// setList stores a list. An empty one is nil, so that recipes compare equal however the key was left unset.
func (s *setting) setList(items []string) error {
	for _, item := range items {
		if item == "" {
			return fmt.Errorf("%s has an empty item; leave it out", s.path)
		}
		if !plain(item) {
			return fmt.Errorf("%s is not valid UTF-8 text", s.path)
		}
	}
	if len(items) == 0 {
		items = nil // as if it was never set
	}
	s.value.Set(reflect.ValueOf(items))
	return nil
}

// setNode stores the value of a YAML node.
func (s *setting) setNode(n *yaml.Node) error {
	isList := s.group == nil && s.value.Kind() == reflect.Slice
	switch {
	case n.Kind == yaml.SequenceNode && isList:
		items := make([]string, len(n.Content))
		for i, c := range n.Content {
			c = resolve(c)
			if c.Kind != yaml.ScalarNode || c.Tag == "!!null" {
				return fmt.Errorf("item %d of %s is not a plain value", i+1, s.path)
			}
			items[i] = c.Value
		}
		return s.setList(items)
	case n.Kind != yaml.ScalarNode:
		return fmt.Errorf("%s is a group or list of values here; give it one of the type %s", s.path, s.typeName())
	case n.Tag == "!!binary":
		return fmt.Errorf("%s is binary; write it as text", s.path)
	case n.Tag == "!!null":
		s.unset()
		return nil
	case isList: // data: FILE is data: [FILE]; a comma in it is a part of the name, as it would be in a list
		return s.setList([]string{n.Value})
	}
	return s.set(n.Value)
}

// unset takes the value away. A group has keys of its own, which an empty value in its place says nothing about.
func (s *setting) unset() {
	if s.group == nil {
		s.value.SetZero()
	}
}

// parse reads text into v by v's kind.
func parse(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true", "yes", "on":
			v.SetBool(true)
		case "false", "no", "off":
			v.SetBool(false)
		default:
			return fmt.Errorf("%q is not true or false", text)
		}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return parseWhole(v, text)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(strings.TrimSpace(text), v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("config: a field of type %v", v.Type()))
	}
	return nil
}

// parseWhole also takes 1e6 and 1_000_000. With a point or an exponent the number goes through a float64, which holds whole numbers exactly up to
// 2^53; plain digits do not, so that seeds of 64 bits are read as they are.
func parseWhole(v reflect.Value, text string) error {
	digits := strings.ReplaceAll(strings.TrimSpace(text), "_", "")
	if f, err := strconv.ParseFloat(digits, 64); err == nil && strings.ContainsAny(digits, "eE.") {
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return fmt.Errorf("%q is not a whole number", text)
		}
		digits = strconv.FormatFloat(f, 'f', 0, 64)
	}
	if v.Kind() == reflect.Uint64 {
		u, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number from 0 up", text)
		}
		v.SetUint(u)
		return nil
	}
	i, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", text)
	}
	v.SetInt(i)
	return nil
}

// text is the value as it is written after path=; empty when not set.
func (s *setting) text() string {
	if s.group != nil {
		return s.group.Short()
	}
	v := s.value
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return scalarText(v.Elem())
	case reflect.Slice:
		return strings.Join(v.Interface().([]string), ",")
	}
	return scalarText(v)
}

func scalarText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64: // the fewest digits that are read as the same number again
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())
	}
	return fmt.Sprint(v.Interface())
}

// node is the value in YAML, nil when there is nothing to write.
func (s *setting) node() *yaml.Node {
	switch {
	case s.group != nil:
		if s.group.Short() == "" {
			return nil
		}
		return scalarNode("!!str", s.group.Short())
	case s.value.Kind() == reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range s.value.Interface().([]string) {
			list.Content = append(list.Content, scalarNode("!!str", item))
		}
		if len(list.Content) == 0 {
			list.Style = yaml.FlowStyle
		}
		return list
	case s.value.Kind() == reflect.Pointer && s.value.IsNil():
		return nil
	}
	tag := "" // the writer finds the type of the text; of a text that looks like a number or like true it must not
	if s.scalarType().Kind() == reflect.String {
		tag = "!!str"
	}
	return scalarNode(tag, s.text())
}

func scalarNode(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}
