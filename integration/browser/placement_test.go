package browser_test

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// placedIn wraps the body of a site block in a whole Caddyfile.
func placedIn(options, address, body string) string {
	return "{\n\tvipps_login {\n\t\tclient_id a\n\t\tclient_secret b\n\t\tsubscription_key c\n\t}\n" + options + "\n}\n" + address + " {\n" + body + "\n}\n"
}

// TestPlacesThatRequestsReach: what works is not refused, and nothing is guessed.
func TestPlacesThatRequestsReach(t *testing.T) {
	for name, config := range map[string]string{
		"top":                              placedIn("", "shop.example.no", "vipps_login /account/* 123456\nreverse_proxy localhost:1"),
		"catch-all handle":                 placedIn("", "shop.example.no", "handle /health {\nrespond ok\n}\nhandle {\nvipps_login 123456\nreverse_proxy localhost:1\n}"),
		"catch-all route":                  placedIn("", "shop.example.no", "route {\nvipps_login 123456\nreverse_proxy localhost:1\n}"),
		"everything":                       placedIn("", "shop.example.no", "handle /* {\nvipps_login 123456\nreverse_proxy localhost:1\n}"),
		"endpoints in the block":           placedIn("", "shop.example.no", "handle /account/* {\nvipps_login 123456 {\nbase_path /account/vipps\n}\nreverse_proxy localhost:1\n}"),
		"handle_path with its endpoints":   placedIn("", "shop.example.no", "handle_path /account/* {\nvipps_login 123456 {\nbase_path /account/vipps\n}\nreverse_proxy localhost:1\n}"),
		"two blocks, each its endpoints":   placedIn("", "shop.example.no", "handle /a/* {\nvipps_login 123456 {\nbase_path /a/vipps\n}\n}\nhandle /b/* {\nvipps_login 123456 {\nbase_path /b/vipps\n}\n}"),
		"two hosts":                        placedIn("", "*.example.no", "@a host a.example.no\n@b host b.example.no\nhandle @a {\nvipps_login {\nmerchant 123456 a.example.no\n}\n}\nhandle @b {\nvipps_login {\nmerchant 234567 b.example.no\n}\n}"),
		"all but one path":                 placedIn("", "shop.example.no", "@rest not path /health\nhandle @rest {\nvipps_login 123456\n}"),
		"a network":                        placedIn("", "shop.example.no", "@office remote_ip 10.0.0.0/8\nhandle @office {\nrespond ok\n}\nhandle {\nvipps_login 123456\n}"),
		"a matcher of headers":             placedIn("", "shop.example.no", "@app header X-App *\nroute @app {\nvipps_login 123456\n}"),
		"a placeholder":                    placedIn("", "shop.example.no", "@app path {env.MOUNT}/*\nroute @app {\nvipps_login 123456\n}"),
		"behind forward_auth":              placedIn("order vipps_login after forward_auth", "shop.example.no", "forward_auth localhost:1 {\nuri /auth\n}\nvipps_login 123456\nreverse_proxy localhost:1"),
		"behind basic_auth":                placedIn("order vipps_login after basic_auth", "shop.example.no", "basic_auth {\nbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\nvipps_login 123456"),
		"behind a rewrite":                 placedIn("", "shop.example.no", "rewrite * /index.php?{query}\nvipps_login 123456\nreverse_proxy localhost:1"),
		"www is redirected":                placedIn("", "example.no, www.example.no", "@www host www.example.no\nredir @www https://example.no{uri}\nvipps_login 123456"),
		"moved away":                       placedIn("", "example.no", "redir https://example.com{uri}\nvipps_login 123456"),
		"an endpoint closed on purpose":    placedIn("", "example.no", "route {\nrespond /vipps/userinfo 404\nvipps_login 123456\n}"),
		"health answered before":           placedIn("", "example.no", "route {\nrespond /health ok\nvipps_login 123456\nreverse_proxy localhost:1\n}"),
		"files first, where there are any": placedIn("", "example.no", "root * /srv\n@file file\nroute {\nfile_server @file\nvipps_login 123456\nreverse_proxy localhost:1\n}"),
		"files first, passed through":      placedIn("", "example.no", "root * /srv\nroute {\nfile_server {\npass_thru\n}\nvipps_login 123456\nreverse_proxy localhost:1\n}"),
		"merchants of several sites":       placedIn("", "a.example.no", "vipps_login {\nmerchant 123456 a.example.no\nmerchant 234567 b.example.no\n}"),
		"in handle_errors as well":         placedIn("", "a.example.no", "vipps_login 123456\nreverse_proxy localhost:1\nhandle_errors {\nvipps_login 123456\nrespond oh\n}"),
		"two sites":                        placedIn("", "a.example.no", "vipps_login 123456\n") + "b.example.no {\nvipps_login 234567\n}\n",
		"two sites at two ports":           placedIn("", "http://a.example.no:8080", "vipps_login 123456\n") + "http://a.example.no:9090 {\nhandle {\nvipps_login 234567\n}\n}\n",
		"every host":                       placedIn("", "http://", "vipps_login {\nmerchant 123456 a.example.no\n}"),
		"a wildcard":                       placedIn("", "*.example.no", "@x host *.example.no\nhandle @x {\nvipps_login 123456\n}"),
		"named route":                      placedIn("", "a.example.no", "handle /x/* {\ninvoke login\n}") + "&(login) {\nvipps_login {\nmerchant 123456 a.example.no\n}\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			adapted, err := harness.Adapt(t, string(caddyfile.Format([]byte(config))))
			if err == nil {
				err = harness.Validate(adapted)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPlacesThatNobodyReaches: each is refused when the config is loaded, with what to do.
func TestPlacesThatNobodyReaches(t *testing.T) {
	const (
		block  = "/vipps/callback never comes to vipps_login: the block around it takes other requests: write vipps_login at the top of the site"
		before = " answers before it: write vipps_login at the top of the site, outside handle and route, and leave its order as it is"
		twice  = "vipps_login stands twice on the way of one request"
	)
	for name, test := range map[string]struct{ config, want string }{
		"handle":         {placedIn("", "shop.example.no", "handle /account/* {\nvipps_login 123456\nreverse_proxy localhost:1\n}"), block},
		"handle_path":    {placedIn("", "shop.example.no", "handle_path /account/* {\nvipps_login 123456\nreverse_proxy localhost:1\n}"), block},
		"route":          {placedIn("", "shop.example.no", "route /account/* {\nvipps_login 123456\nreverse_proxy localhost:1\n}"), block},
		"named matcher":  {placedIn("", "shop.example.no", "@account path /account /account/*\nhandle @account {\nvipps_login 123456\n}"), block},
		"regexp":         {placedIn("", "shop.example.no", "@account path_regexp ^/account\nhandle @account {\nvipps_login 123456\n}"), block},
		"not":            {placedIn("", "shop.example.no", "@rest not path /vipps/*\nhandle @rest {\nvipps_login 123456\n}"), block},
		"deep":           {placedIn("", "shop.example.no", "route {\nhandle {\nhandle /account/* {\nroute {\nvipps_login 123456\n}\n}\n}\n}"), block},
		"phone":          {placedIn("", "shop.example.no", "@some path /vipps/callback /vipps/login /vipps/logout /vipps/userinfo\nhandle @some {\nvipps_login 123456 {\nphone {\napi_key 0123456789abcdef0123456789abcdef\n}\n}\n}"), "shop.example.no/vipps/phone"},
		"wildcard":       {placedIn("", "*.example.no", "handle /account/* {\nvipps_login 123456\n}"), "any.example.no" + block},
		"several sites":  {placedIn("", "a.example.no", "vipps_login 123456\n") + "b.example.no {\nhandle /account/* {\nvipps_login 234567\n}\n}\n", "b.example.no" + block},
		"every host":     {placedIn("", "http://", "handle /account/* {\nvipps_login {\nmerchant 123456 a.example.no\n}\n}"), "a.example.no" + block},
		"order":          {placedIn("order vipps_login after reverse_proxy", "shop.example.no", "vipps_login 123456\nreverse_proxy localhost:1"), "reverse_proxy" + before},
		"order last":     {placedIn("order vipps_login last", "shop.example.no", "vipps_login 123456\nfile_server"), "file_server" + before},
		"order, respond": {placedIn("order vipps_login last", "shop.example.no", "vipps_login 123456\nrespond hello"), "respond" + before},
		"order, handle":  {placedIn("order vipps_login last", "shop.example.no", "vipps_login 123456\nhandle {\nreverse_proxy localhost:1\n}"), "reverse_proxy" + before},
		"endpoints taken": {placedIn("", "shop.example.no",
			"route {\nreverse_proxy /vipps/* localhost:1\nvipps_login 123456\n}"), "reverse_proxy" + before},
		"another handle takes the endpoints": {placedIn("", "shop.example.no",
			"handle /vipps/* {\nreverse_proxy localhost:1\n}\nhandle {\nvipps_login 123456\n}"), "reverse_proxy" + before},
		"callback closed": {placedIn("", "shop.example.no", "route {\nrespond /vipps/callback 404\nvipps_login 123456\n}"), "respond" + before},
		"twice":           {placedIn("", "shop.example.no", "vipps_login /a/* 123456\nvipps_login /b/* 123456"), twice},
		"twice, around": {placedIn("", "shop.example.no",
			"vipps_login /a/* 123456\nhandle {\nvipps_login /b/* 123456\n}"), twice},
		"twice, in a row": {placedIn("", "shop.example.no",
			"route {\nroute {\nvipps_login /a/* 123456\n}\nroute {\nvipps_login /b/* 123456\n}\n}"), twice},
	} {
		t.Run(name, func(t *testing.T) {
			adapted, err := harness.Adapt(t, string(caddyfile.Format([]byte(test.config))))
			if err != nil {
				t.Fatal(err)
			}
			harness.WantError(t, harness.Validate(adapted), test.want)
		})
	}
}
