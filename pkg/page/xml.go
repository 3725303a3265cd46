package page

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The grammar of XML 1.0 (fifth edition) and of Namespaces in XML 1.0, as far as regular
// expressions can express it; checkXML checks the rest. The chart's templates have the same
// expressions, because they have no other way to read XML: a test compares them.
//
// encoding/xml accepts a second root, a declaration anywhere, attributes that are repeated
// or not separated, and unbound prefixes. Conforming parsers accept none of these.
const (
	xmlSpace = " \t\r\n"

	xmlS      = `[ \t\r\n]`
	xmlStart  = `A-Z_a-z\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{2FF}\x{370}-\x{37D}\x{37F}-\x{1FFF}\x{200C}-\x{200D}\x{2070}-\x{218F}\x{2C00}-\x{2FEF}\x{3001}-\x{D7FF}\x{F900}-\x{FDCF}\x{FDF0}-\x{FFFD}\x{10000}-\x{EFFFF}`
	xmlNCName = `[` + xmlStart + `][` + xmlStart + `0-9.\x{B7}\x{300}-\x{36F}\x{203F}-\x{2040}-]*`
	xmlName   = `(?:` + xmlNCName + `:)?` + xmlNCName

	// References to characters that are allowed in XML.
	xmlHex = `0*(?:9|[AaDd]|[2-9A-Fa-f][0-9A-Fa-f]|[1-9A-Fa-f][0-9A-Fa-f]{2}|[1-9A-Ca-cEe][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}|[Ff](?:[0-9A-Ea-e][0-9A-Fa-f]{2}|[Ff](?:[0-9A-Ea-e][0-9A-Fa-f]|[Ff][0-9A-Da-d]))|(?:[1-9A-Fa-f]|10)[0-9A-Fa-f]{4})`
	xmlDec = `0*(?:9|1[03]|3[2-9]|[4-9][0-9]|[1-9][0-9]{2,3}|[1-4][0-9]{4}|5[0-4][0-9]{3}|55[01][0-9]{2}|552[0-8][0-9]|5529[0-5]|5734[4-9]|573[5-9][0-9]|57[4-9][0-9]{2}|5[89][0-9]{3}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-36-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4}|[1-9][0-9]{5}|10[0-9]{5}|110[0-9]{4}|111[0-3][0-9]{3}|11140[0-9]{2}|111410[0-9]|111411[01])`
	xmlRef = `&(?:lt|gt|amp|quot|apos|#` + xmlDec + `|#x` + xmlHex + `);`

	xmlAttribute = `(` + xmlName + `)` + xmlS + `*=` + xmlS + `*(?:"((?:[^<&"]|` + xmlRef + `)*)"|'((?:[^<&']|` + xmlRef + `)*)')`
	xmlTag       = `<(` + xmlName + `)((?:` + xmlS + `+` + xmlAttribute + `)*)` + xmlS + `*/?>`
	xmlEndTag    = `</(` + xmlName + `)` + xmlS + `*>`
	xmlText      = `(?:[^<&]|` + xmlRef + `)+`
	xmlComment   = `<!--(?:[^-]|-[^-])*-->`
	xmlCDATA     = `<!\[CDATA\[(?s:.*?)\]\]>`
	xmlPI        = `<\?` + xmlNCName + `(?:` + xmlS + `(?s:.*?))?\?>`
	// A document type without declarations of its own: many clients refuse to read those.
	xmlDoctype = `<!DOCTYPE` + xmlS + `+` + xmlName + `(?:` + xmlS + `+(?:SYSTEM|PUBLIC` + xmlS + `+(?:"[ \r\n'` + xmlPublic + `]*"|'[ \r\n` + xmlPublic + `]*'))` + xmlS + `+(?:"[^"]*"|'[^']*'))?` + xmlS + `*>`
	xmlPublic  = `a-zA-Z0-9()+,./:=?;!*#@$_%-`
	xmlToken   = xmlComment + `|` + xmlCDATA + `|` + xmlPI + `|` + xmlDoctype + `|` + xmlEndTag + `|` + xmlTag + `|` + xmlText

	xmlDeclaration = `^<\?xml` + xmlS + `+version` + xmlS + `*=` + xmlS + `*(?:"1\.0"|'1\.0')(?:` + xmlS + `+encoding` + xmlS + `*=` + xmlS + `*(?:"([A-Za-z][A-Za-z0-9._-]*)"|'([A-Za-z][A-Za-z0-9._-]*)'))?(?:` + xmlS + `+standalone` + xmlS + `*=` + xmlS + `*(?:"(?:yes|no)"|'(?:yes|no)'))?` + xmlS + `*\?>`
	// Names of encodings that include ASCII.
	xmlASCII   = `^(?i:us-ascii|iso-8859-[0-9]+|windows-125[0-8])$`
	xmlIllegal = `[^\x09\x0A\x0D\x20-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]`

	xmlURI   = "http://www.w3.org/XML/1998/namespace"
	xmlnsURI = "http://www.w3.org/2000/xmlns/"
)

var (
	xmlTokens       = regexp.MustCompile(`^(?:` + xmlToken + `)`)
	xmlTags         = regexp.MustCompile(`^` + xmlTag + `$`)
	xmlEndTags      = regexp.MustCompile(`^` + xmlEndTag + `$`)
	xmlAttributes   = regexp.MustCompile(xmlAttribute)
	xmlDeclarations = regexp.MustCompile(xmlDeclaration)
	xmlASCIIs       = regexp.MustCompile(xmlASCII)
	xmlIllegals     = regexp.MustCompile(xmlIllegal)
)

// checkXML says why a conforming parser would refuse the document; nil if it would not.
func checkXML(body string) error {
	if at := xmlIllegals.FindStringIndex(body); at != nil {
		return xmlFault(body[:at[0]], "character %q is not allowed", body[at[0]:at[1]])
	}
	rest, err := afterDeclaration(body)
	if err != nil {
		return err
	}
	w := &xmlWalk{uris: map[string]int{}}
	w.bound = map[string][]int{"xml": {w.number(xmlURI)}}
	for rest != "" {
		before := body[:len(body)-len(rest)]
		token := xmlTokens.FindString(rest)
		if token == "" {
			return xmlFault(before, "no valid markup begins with %q", clip(rest))
		}
		if err := w.take(token); err != nil {
			return xmlFault(before, "%s", err)
		}
		rest = rest[len(token):]
	}
	switch {
	case !w.root:
		return errors.New("has no XML element: check it with a tool such as xmllint")
	case len(w.open) > 0:
		return xmlFault(body, "element %q is not closed", clip(w.open[len(w.open)-1].name))
	}
	return nil
}

func xmlFault(before, format string, args ...any) error {
	return fmt.Errorf("is not well-formed XML: line %d: %s", 1+strings.Count(before, "\n"), fmt.Sprintf(format, args...))
}

// afterDeclaration reads the XML declaration, if there is one. The page is served as UTF-8,
// so if it declares another encoding its text must be the same in both.
func afterDeclaration(body string) (string, error) {
	m := xmlDeclarations.FindStringSubmatch(body)
	if m == nil {
		return body, nil // xmlWalk reports an invalid declaration
	}
	isASCII := strings.IndexFunc(body, func(r rune) bool { return r > unicode.MaxASCII }) < 0
	encoding := m[1] + m[2]
	if encoding != "" && !strings.EqualFold(encoding, "utf-8") && (!isASCII || !xmlASCIIs.MatchString(encoding)) {
		return "", fmt.Errorf("declares the encoding %s, but is served as UTF-8: declare UTF-8 and save the file as UTF-8", clip(encoding))
	}
	return body[len(m[0]):], nil
}

// xmlWalk checks a document token by token. For any document, time and memory grow
// linearly with its size.
type xmlWalk struct {
	open  []xmlElement     // elements that are not closed yet, the innermost last
	uris  map[string]int   // a number for each namespace
	bound map[string][]int // the namespaces that a prefix is bound to, the innermost last
	root  bool             // whether the root element has begun
	dtd   bool             // whether there was a document type
}

type xmlElement struct {
	name     string
	prefixes []string // the prefixes that it binds
}

func (w *xmlWalk) take(token string) error {
	inside := len(w.open) > 0
	switch {
	case strings.HasPrefix(token, "<!--"):
		return nil
	case strings.HasPrefix(token, "<?"):
		if len(token) > 5 && strings.EqualFold(token[2:5], "xml") && strings.ContainsAny(token[5:6], xmlSpace+"?") {
			return errors.New("the XML declaration must be at the very start, once, with version 1.0")
		}
		return nil
	case strings.HasPrefix(token, "<!DOCTYPE"):
		if w.root || w.dtd {
			return errors.New("the document type must come before the first element, once")
		}
		w.dtd = true
		return nil
	case strings.HasPrefix(token, "</"):
		return w.close(xmlEndTags.FindStringSubmatch(token)[1])
	case strings.HasPrefix(token, "<![CDATA["):
		if !inside {
			return errors.New("there is text outside of the element")
		}
		return nil
	case strings.HasPrefix(token, "<"):
		return w.element(token)
	case strings.Contains(token, "]]>"):
		return errors.New("text has \"]]>\": write ]]&gt;")
	case !inside && strings.Trim(token, xmlSpace) != "":
		return errors.New("there is text outside of the element")
	}
	return nil
}

func (w *xmlWalk) close(name string) error {
	last := len(w.open) - 1
	if last < 0 || w.open[last].name != name {
		return fmt.Errorf("</%s> does not close the last open element", clip(name))
	}
	w.unbind(w.open[last].prefixes)
	w.open = w.open[:last]
	return nil
}

func (w *xmlWalk) unbind(prefixes []string) {
	for _, prefix := range prefixes {
		w.bound[prefix] = w.bound[prefix][:len(w.bound[prefix])-1]
	}
}

func (w *xmlWalk) element(tag string) error {
	m := xmlTags.FindStringSubmatch(tag)
	name, attributes := m[1], xmlAttributes.FindAllStringSubmatch(m[2], -1)
	if len(w.open) == 0 && w.root {
		return fmt.Errorf("<%s> is a second root element", clip(name))
	}
	w.root = true
	prefixes, err := w.bind(attributes)
	if err != nil {
		return err
	}
	if _, err := w.expand(name); err != nil {
		return err
	}
	if err := w.distinct(attributes); err != nil {
		return err
	}
	if strings.HasSuffix(tag, "/>") {
		w.unbind(prefixes)
		return nil
	}
	w.open = append(w.open, xmlElement{name, prefixes})
	return nil
}

// bind binds the prefixes that an element's attributes declare, and returns them.
func (w *xmlWalk) bind(attributes [][]string) ([]string, error) {
	var prefixes []string
	for _, a := range attributes {
		prefix, declares := strings.CutPrefix(a[1], "xmlns:")
		uri := a[2] + a[3]
		switch {
		case !declares && a[1] != "xmlns":
			continue
		case uri == xmlnsURI, (uri == xmlURI) != (declares && prefix == "xml"), declares && (prefix == "xmlns" || uri == ""):
			return nil, fmt.Errorf("%s=%q is not a valid namespace declaration", clip(a[1]), clip(uri))
		case declares:
			w.bound[prefix] = append(w.bound[prefix], w.number(uri))
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, nil
}

func (w *xmlWalk) number(uri string) int {
	if _, known := w.uris[uri]; !known {
		w.uris[uri] = len(w.uris) + 1 // 0 means no namespace
	}
	return w.uris[uri]
}

// xmlExpanded is a name with its namespace: an element must not have the same attribute
// under two prefixes.
type xmlExpanded struct {
	uri   int
	local string
}

func (w *xmlWalk) expand(name string) (xmlExpanded, error) {
	prefix, local, found := strings.Cut(name, ":")
	if !found {
		return xmlExpanded{local: name}, nil
	}
	uris := w.bound[prefix]
	if len(uris) == 0 {
		return xmlExpanded{}, fmt.Errorf("prefix %q of %q is not declared", clip(prefix), clip(name))
	}
	return xmlExpanded{uris[len(uris)-1], local}, nil
}

func (w *xmlWalk) distinct(attributes [][]string) error {
	seen := map[xmlExpanded]bool{}
	for _, a := range attributes {
		name := xmlExpanded{local: a[1]}
		if !strings.HasPrefix(a[1], "xmlns:") {
			var err error
			if name, err = w.expand(a[1]); err != nil {
				return err
			}
		}
		if seen[name] {
			return fmt.Errorf("attribute %q is repeated", clip(a[1]))
		}
		seen[name] = true
	}
	return nil
}
