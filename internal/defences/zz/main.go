package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/caddy-vipps/vippslogin/internal/defences"
)

func main() {
	bad := 0
	for _, d := range defences.All() {
		without, err := d.Without()
		if err != nil {
			fmt.Println("OLD", d.Name, err)
			continue
		}
		file, _ := filepath.Abs(d.File)
		changed := filepath.Join("/tmp/dc", filepath.Base(file))
		os.WriteFile(changed, []byte(without), 0o600)
		content, _ := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
		os.WriteFile("/tmp/dc/overlay.json", content, 0o600)
		out, err := exec.Command("go", "build", "-overlay", "/tmp/dc/overlay.json", "./"+filepath.Dir(d.File)).CombinedOutput()
		if err != nil {
			out2, err2 := exec.Command("go", "build", "-overlay", "/tmp/dc/overlay.json", "./"+filepath.Dir(d.File)).CombinedOutput()
			if err2 != nil {
				bad++
				fmt.Printf("BROKEN %s | %s: %s\n%s\n", d.File, d.Threat, d.Name, out2)
			}
			_ = out
		}
	}
	fmt.Println("done", bad)
}
