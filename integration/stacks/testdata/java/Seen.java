import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.File;
import java.io.IOException;
import java.util.Collections;
import java.util.stream.Collectors;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.coyote.http2.Http2Protocol;

/** See ../README.md. */
public class Seen extends HttpServlet {
    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        var cookie = request.getHeader("Cookie");
        if (cookie == null || !cookie.contains("sid=")) {
            response.addHeader("Set-Cookie", "sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax");
        }
        var name = request.getHeader("X-Vipps-Name");
        var headers = Collections.list(request.getHeaderNames()).stream().distinct()
                .map(header -> json(header) + ": " + values(request, header)).collect(Collectors.joining(", "));
        response.setContentType("application/json; charset=utf-8");
        response.getWriter().printf("{\"greeting\": %s, \"sub\": %s, \"cookie\": %s, \"headers\": {%s}}",
                json("Så " + (name == null ? "" : name)), json(request.getHeader("X-Vipps-Sub")), json(cookie), headers);
    }

    private static String values(HttpServletRequest request, String header) {
        return Collections.list(request.getHeaders(header)).stream().map(Seen::json).collect(Collectors.joining(", ", "[", "]"));
    }

    private static String json(String text) {
        if (text == null) {
            return "null";
        }
        return text.chars().mapToObj(c -> c < ' ' || c == '"' || c == '\\' ? String.format("\\u%04x", c) : String.valueOf((char) c))
                .collect(Collectors.joining("", "\"", "\""));
    }

    private static Connector connector(String port) {
        var connector = new Connector();
        connector.setProperty("address", "127.0.0.1");
        connector.setPort(Integer.parseInt(port));
        return connector;
    }

    /** Arguments: a folder to work in; ports as Tomcat comes, with room for large headers, with HTTP/2, and with both. */
    public static void main(String[] args) throws Exception {
        var tomcat = new Tomcat();
        tomcat.setBaseDir(args[0]);
        var context = tomcat.addContext("", new File(args[0]).getAbsolutePath());
        Tomcat.addServlet(context, "seen", new Seen()).addMapping("/*");

        tomcat.setConnector(connector(args[1]));
        var large = connector(args[2]);
        large.setProperty("maxHttpRequestHeaderSize", "32768");
        tomcat.setConnector(large);
        var http2 = connector(args[3]);
        http2.addUpgradeProtocol(new Http2Protocol());
        tomcat.setConnector(http2);
        var largeHTTP2 = connector(args[4]);
        largeHTTP2.setProperty("maxHttpRequestHeaderSize", "32768");
        largeHTTP2.addUpgradeProtocol(new Http2Protocol());
        tomcat.setConnector(largeHTTP2);
        tomcat.start();
        tomcat.getServer().await();
    }
}
