// Command merchants measures what many merchants cost: to adapt, validate and start a config with them,
// and in memory, beside a Caddy with the same site and no vipps_login. Run it with `make bench-merchants`.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-vipps/vippslogin"
)

// Each measurement is a process of its own: this program again, with the file and what to do with it.
func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 {
		printMeasured(os.Args[1], os.Args[2])
		return
	}
	folder, err := os.MkdirTemp("", "bench-merchants-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	bare := medians("start", write(folder, "bare", site(folder, "")))
	fmt.Printf("a Caddy without the directive: resident %.1f MiB, live heap %.1f MiB\n\n", bare.Resident, bare.Heap)
	fmt.Println("| merchants | as | adapt | validate | start | resident | live heap | most while starting |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, n := range []int{10, 1000, 100_000} {
		for _, form := range []string{"Caddyfile", "JSON", "file"} {
			config := generate(folder, form, n)
			started := medians("start", config)
			validated := medians("validate", config)
			fmt.Printf("| %d | %s | %.0f ms | %.0f ms | %.0f ms | %+.1f MiB | %+.1f MiB | %+.1f MiB |\n", n, form,
				started.Adapt, validated.Run, started.Run, started.Resident-bare.Resident, started.Heap-bare.Heap, started.Peak-bare.Peak)
		}
	}
}

// measured is in milliseconds and MiB.
type measured struct{ Adapt, Run, Resident, Heap, Peak float64 }

const rounds = 5

// medians runs one measurement several times.
func medians(what, config string) measured {
	var all []measured
	for range rounds {
		out, err := exec.Command(os.Args[0], what, config).Output()
		if err != nil {
			log.Fatalf("%s %s: %v %s", what, config, err, out)
		}
		var one measured
		if err := json.Unmarshal(out, &one); err != nil {
			log.Fatal(err)
		}
		all = append(all, one)
	}
	median := func(of func(measured) float64) float64 {
		slices.SortFunc(all, func(a, b measured) int { return int(1000 * (of(a) - of(b))) })
		return of(all[len(all)/2])
	}
	return measured{
		Adapt: median(func(m measured) float64 { return m.Adapt }), Run: median(func(m measured) float64 { return m.Run }),
		Resident: median(func(m measured) float64 { return m.Resident }), Heap: median(func(m measured) float64 { return m.Heap }),
		Peak: median(func(m measured) float64 { return m.Peak }),
	}
}

func printMeasured(what, file string) {
	began := time.Now()
	config, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	var m measured
	if filepath.Ext(file) != ".json" {
		if config, _, err = caddyconfig.GetAdapter("caddyfile").Adapt(config, map[string]any{"filename": file}); err != nil {
			log.Fatal(err)
		}
		m.Adapt = milliseconds(began)
	}
	began = time.Now()
	switch what {
	case "validate":
		var parsed caddy.Config
		if err = caddy.StrictUnmarshalJSON(config, &parsed); err == nil {
			err = caddy.Validate(&parsed)
		}
	case "start":
		err = caddy.Load(config, true)
	default:
		log.Fatalf("cannot %s", what)
	}
	if err != nil {
		log.Fatal(err)
	}
	m.Run = milliseconds(began)
	debug.FreeOSMemory() // the garbage of starting, which the runtime gives back within minutes
	m.Resident, m.Peak = memory("VmRSS:"), memory("VmHWM:")
	if profile := os.Getenv("HEAP_PROFILE"); profile != "" {
		writeHeapProfile(profile)
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m.Heap = float64(stats.HeapAlloc) / (1 << 20)
	_ = json.NewEncoder(os.Stdout).Encode(m)
}

// writeHeapProfile writes what is in use, to see whose it is.
func writeHeapProfile(file string) {
	out, err := os.Create(file)
	if err == nil {
		err = errors.Join(pprof.Lookup("heap").WriteTo(out, 0), out.Close())
	}
	if err != nil {
		log.Fatal(err)
	}
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// memory is a value of the process's status, in MiB.
func memory(name string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), name)
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		log.Fatal(err)
	}
	return float64(kib) / 1024
}

// site is a Caddyfile with one site.
func site(folder, directive string) string {
	return `{
	admin off
	persist_config off
	auto_https off
	storage file_system ` + filepath.Join(folder, "storage") + `
	log {
		level ERROR
	}
	vipps_login {
		client_id id
		client_secret secret
		subscription_key key
		cookie_secret 0123456789abcdef0123456789abcdef
	}
}

http://*.shops.example.no:0 {
` + directive + `	respond ok
}
`
}

// generate writes a config with n merchants.
func generate(folder, form string, n int) string {
	var lines strings.Builder
	line := "\t\tmerchant %d %s\n"
	if form == "file" {
		lines.WriteString("host,msn\n")
		line = "%[2]s,%[1]d\n"
	}
	for i := range n {
		fmt.Fprintf(&lines, line, 100_000+i, fmt.Sprintf("shop-%d.shops.example.no", i))
	}
	name := fmt.Sprintf("%s-%d", form, n)
	if form == "file" {
		return write(folder, name, site(folder, fmt.Sprintf("\tvipps_login {\n\t\tmerchants %s\n\t}\n", write(folder, name+".csv", lines.String()))))
	}
	config := site(folder, "\tvipps_login {\n"+lines.String()+"\t}\n")
	if form == "JSON" {
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
		if err != nil {
			log.Fatal(err)
		}
		return write(folder, name+".json", string(adapted))
	}
	return write(folder, name, config)
}

func write(folder, name, content string) string {
	file := filepath.Join(folder, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		log.Fatal(err)
	}
	return file
}
