package config_test

import (
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
