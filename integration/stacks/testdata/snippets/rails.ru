require 'action_controller/railtie'

class Readers < ActionController::API
  def utf8
    # SNIPPET utf8
    render json: { sub: sub, name: beside(name), address: address }
  end

  def percent
    # SNIPPET percent
    render json: { sub: sub, name: beside(name), address: address }
  end

  def base64url
    # SNIPPET base64url
    render json: { sub: sub, name: beside(name), address: address }
  end

  private

  # What only text can do, and bytes cannot: stand beside other text.
  def beside(name) = "Så #{name}".delete_prefix('Så ')
end
ReadersController = Readers

class Site < Rails::Application
  config.eager_load = false
  config.hosts.clear
  config.secret_key_base = 'of no use here'
  config.logger = Logger.new($stderr, level: :warn)
  routes.append do
    %w[utf8 percent base64url].each { |encoding| get "/#{encoding}", to: "readers##{encoding}" }
  end
end
Site.initialize!
run Site
