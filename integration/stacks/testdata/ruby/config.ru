# See README.md.
require 'json'

run(lambda do |env|
  headers = { 'Content-Type' => 'application/json' }
  unless env['HTTP_COOKIE'].to_s.include?('sid=')
    headers['Set-Cookie'] = 'sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax'
  end
  greeting = begin
    "Så #{env['HTTP_X_VIPPS_NAME']}"
  rescue StandardError => e
    e.class.name
  end
  # What came is bytes to Ruby, and JSON takes text.
  text = ->(value) { value&.dup&.force_encoding('UTF-8') }
  seen = env.select { |name, _| name.start_with?('HTTP_') }.transform_values(&text)
  body = JSON.generate(
    greeting: greeting, sub: text.call(env['HTTP_X_VIPPS_SUB']), cookie: text.call(env['HTTP_COOKIE']), headers: seen
  )
  [200, headers, [body]]
end)
