package app

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// findPages reads the pages at a path; - is standard input.
func findPages(path string, stdin io.Reader) ([]candidate, error) {
	if path == "-" {
		return fromYAML("standard input", stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	if info.IsDir() {
		return fromFolder(path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	extension := filepath.Ext(path)
	if extension == ".yaml" || extension == ".yml" {
		return fromYAML(path, bytes.NewReader(text))
	}
	key := filepath.Base(path)
	if _, _, ok := page.SplitKey("page" + extension); ok && !strings.HasPrefix(key, "page.") {
		key = "page" + extension
	}
	return []candidate{{name: path, data: map[string]string{key: string(text)}}}, nil
}

// fromFolder reads a page as kubectl create configmap --from-file would: only the files in the
// folder, and no subfolders.
func fromFolder(path string) ([]candidate, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	c := candidate{name: path, data: map[string]string{}}
	for _, entry := range entries {
		file := filepath.Join(path, entry.Name())
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("read the page: %w", err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the page: %w", err)
		}
		c.data[entry.Name()] = string(text)
	}
	return []candidate{c}, nil
}

// fromYAML reads the pages among ConfigMaps, or in values of the chart.
func fromYAML(path string, from io.Reader) ([]candidate, error) {
	var found []candidate
	documents := utilyaml.NewYAMLReader(bufio.NewReader(from))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		more, err := fromDocument(path, text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		found = append(found, more...)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no page: neither a ConfigMap labelled %s=NAME nor values under maintenance.defaultPage or maintenance.customPages", path, annotations.CustomPageLabel)
	}
	return found, nil
}

func fromDocument(path string, text []byte) ([]candidate, error) {
	var document struct {
		corev1.ConfigMap `json:",inline"`
		Items            []corev1.ConfigMap `json:"items"`
		Maintenance      *pagesInValues     `json:"maintenance"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	if document.Maintenance != nil {
		return document.Maintenance.pages(path), nil
	}
	var found []candidate
	for _, cm := range append(document.Items, document.ConfigMap) {
		name := cm.Labels[annotations.CustomPageLabel]
		if name == "" || cm.Kind != "ConfigMap" {
			continue
		}
		c := candidate{name: fmt.Sprintf("page %q in ConfigMap %s of %s", name, cm.Name, path), label: name, data: map[string]string{}}
		maps.Copy(c.data, cm.Data)
		for key, value := range cm.BinaryData {
			c.data[key] = string(value)
		}
		found = append(found, c)
	}
	return found, nil
}

// pagesInValues are the chart's values for pages.
type pagesInValues struct {
	HTTPStatusCode int                     `json:"httpStatusCode"`
	RetryAfter     int                     `json:"retryAfter"`
	DefaultPage    *pageInValues           `json:"defaultPage"`
	CustomPages    map[string]pageInValues `json:"customPages"`
}

type pageInValues struct {
	HTML                  string            `json:"html"`
	HTMLBase64            string            `json:"htmlBase64"`
	JSON                  string            `json:"json"`
	XML                   string            `json:"xml"`
	Text                  string            `json:"text"`
	ContentSecurityPolicy string            `json:"contentSecurityPolicy"`
	Files                 map[string]string `json:"files"`
	HTTPStatusCode        int               `json:"httpStatusCode"`
	RetryAfter            int               `json:"retryAfter"`
}

func (v pagesInValues) pages(path string) []candidate {
	var found []candidate
	defaultPage := pageInValues{}
	if v.DefaultPage != nil {
		defaultPage = *v.DefaultPage
	}
	if v.HTTPStatusCode != page.DefaultStatus {
		defaultPage.HTTPStatusCode = v.HTTPStatusCode
	}
	if v.RetryAfter != 0 {
		defaultPage.RetryAfter = v.RetryAfter
	}
	if c := defaultPage.page(); len(c.data)+len(c.wrong) > 0 {
		c.name, c.label = "maintenance.defaultPage in "+path, annotations.DefaultPage
		found = append(found, c)
	}
	for _, name := range slices.Sorted(maps.Keys(v.CustomPages)) {
		c := v.CustomPages[name].page()
		c.name, c.label = fmt.Sprintf("maintenance.customPages.%s in %s", name, path), name
		switch {
		case name == annotations.DefaultPage:
			c.label = ""
			c.wrong = append(c.wrong, "the default page belongs under maintenance.defaultPage: move it there")
		case len(c.data)+len(c.wrong) == 0:
			c.wrong = append(c.wrong, "the page is empty: give it one of html, json, xml or text")
		}
		found = append(found, c)
	}
	if len(found) == 0 {
		return []candidate{{name: "values without a page in " + path}}
	}
	return found
}

// page builds the page that the chart would build from the values.
func (v pageInValues) page() candidate {
	c := candidate{data: map[string]string{}}
	for key, value := range map[string]string{"page.html": v.HTML, "page.json": v.JSON, "page.xml": v.XML, "page.txt": v.Text, page.CSPKey: v.ContentSecurityPolicy} {
		if value != "" {
			c.data[key] = value
		}
	}
	if v.HTMLBase64 != "" {
		if v.HTML != "" {
			c.wrong = append(c.wrong, "both html and htmlBase64 are set, but a page has only one HTML: remove one of them")
		}
		html, err := base64.StdEncoding.DecodeString(withoutSpace(v.HTMLBase64))
		if err != nil {
			c.wrong = append(c.wrong, "htmlBase64 is not base64: put plain HTML under html, or encode it with base64 -w0")
		}
		c.data["page.html"] = string(html)
	}
	for key, value := range map[string]int{page.StatusKey: v.HTTPStatusCode, page.RetryAfterKey: v.RetryAfter} {
		if value != 0 {
			c.data[key] = strconv.Itoa(value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(v.Files)) {
		if _, given := c.data[key]; given {
			c.wrong = append(c.wrong, fmt.Sprintf("files has %s, which is also set outside of files: remove one of them", key))
			continue
		}
		c.data[key] = v.Files[key]
	}
	return c
}

func withoutSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}
