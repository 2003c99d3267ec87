package plan

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed prices.csv
var pricesCSV string

// Reference is the provider of the prices that published estimates used. They are no offers.
const Reference = "reference"

// Price is what an hour of a machine costs.
type Price struct {
	Provider string  `json:"provider"`
	Machine  string  `json:"machine"`
	GPU      string  `json:"gpu"`
	GPUs     int     `json:"gpus"`
	USD      float64 `json:"usd_per_hour"`
	Spot     float64 `json:"spot_usd_per_hour,omitempty"` // 0: not offered
	Date     string  `json:"date"`
	Source   string  `json:"source"`
}

// PerGPU is the price of an hour of one GPU; +Inf for a spot price that is not offered.
func (p Price) PerGPU(spot bool) float64 {
	switch {
	case !spot:
		return p.USD / float64(p.GPUs)
	case p.Spot > 0:
		return p.Spot / float64(p.GPUs)
	}
	return math.Inf(1)
}

// Prices are those that come with the program.
func Prices() []Price {
	list, err := ReadPrices("prices.csv", strings.NewReader(pricesCSV))
	if err != nil {
		panic(err) // the tests read it
	}
	return list
}

// ReadPrices reads a table of prices with the columns provider, machine, gpu, gpus, usd_per_hour, spot_usd_per_hour (may be
// empty), date (YYYY-MM-DD) and source. name stands in errors.
func ReadPrices(name string, r io.Reader) ([]Price, error) {
	const header = "provider,machine,gpu,gpus,usd_per_hour,spot_usd_per_hour,date,source"
	in := csv.NewReader(r)
	in.FieldsPerRecord = strings.Count(header, ",") + 1
	var list []Price
	for n := 0; ; n++ {
		f, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; the columns are %s", name, err, header)
		}
		if n == 0 {
			if got := strings.Join(f, ","); got != header {
				return nil, fmt.Errorf("%s:1: the columns are %s; they must be %s", name, got, header)
			}
			continue
		}
		p, err := price(f)
		if err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no prices; give lines of %s", name, header)
	}
	return list, nil
}

// price reads a line; its error names the column and what must stand there.
func price(f []string) (p Price, err error) {
	p = Price{Provider: strings.ToLower(f[0]), Machine: f[1], Date: f[6], Source: f[7]}
	g, err := FindGPU(f[2])
	if err != nil {
		return p, err
	}
	p.GPU = g.Name
	if p.GPUs, err = strconv.Atoi(f[3]); err != nil || p.GPUs < 1 {
		return p, fmt.Errorf("gpus is %q; it must be a whole number of at least 1", f[3])
	}
	money := func(text string) (float64, error) {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v > 0) || v > 1e9 {
			return 0, fmt.Errorf("%q is no price in dollars an hour", text)
		}
		return v, nil
	}
	if p.USD, err = money(f[4]); err != nil {
		return p, err
	}
	if f[5] != "" {
		if p.Spot, err = money(f[5]); err != nil {
			return p, err
		}
	}
	if _, err = time.Parse(time.DateOnly, p.Date); err != nil {
		return p, fmt.Errorf("the date is %q; write YYYY-MM-DD", p.Date)
	}
	return p, nil
}

// Offers are the prices that can be had, cheapest GPU first: those of provider and of gpu, where they are not empty.
func Offers(list []Price, provider, gpu string, spot bool) []Price {
	var found []Price
	for _, p := range list {
		if (gpu == "" || p.GPU == gpu) && (p.Provider == provider || provider == "" && p.Provider != Reference) && !math.IsInf(p.PerGPU(spot), 1) {
			found = append(found, p)
		}
	}
	slices.SortStableFunc(found, func(a, b Price) int {
		switch d := a.PerGPU(spot) - b.PerGPU(spot); {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
	return found
}
