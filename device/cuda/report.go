package cuda

import "fmt"

// Report is what a machine has of what the device needs.
type Report struct {
	Driver   string   `json:"driver"` // the CUDA that the driver is made for, and where it was found; "" without one
	Cards    []string `json:"cards"`
	Compiler string   `json:"nvrtc"`
	Products string   `json:"cublaslt"`
	Missing  []string `json:"missing"` // what is missing or unfit, each with the remedy
}

// Inspect looks for the driver, its cards and then the libraries, and opens no card.
func Inspect(o Options) Report {
	var r Report
	c, err := findCU()
	if err != nil {
		r.Missing = append(r.Missing, err.Error())
		return r
	}
	major := c.version / 1000
	r.Driver = fmt.Sprintf("CUDA %d.%d (%s)", major, c.version%1000/10, c.library.Path)
	cards, err := c.cards()
	if err != nil || len(cards) == 0 {
		r.Missing = append(r.Missing, fmt.Sprintf("the driver sees no card (%v); CUDA_VISIBLE_DEVICES may hide them", err))
	}
	for _, k := range cards {
		r.Cards = append(r.Cards, fmt.Sprintf("%s, sm_%d, %d GB, %d multiprocessors", k.name, k.arch, k.memory/1e9, k.processors))
	}
	if n, err := openNVRTC(o.Libraries, major); err != nil {
		r.Missing = append(r.Missing, err.Error())
	} else {
		r.Compiler = fmt.Sprintf("%s (%s)", n.version, n.library.Path)
	}
	if l, err := openCublasLt(o.Libraries, major); err != nil {
		r.Missing = append(r.Missing, err.Error())
	} else {
		r.Products = fmt.Sprintf("%d (%s)", l.version, l.library.Path)
	}
	return r
}
