import static java.nio.charset.StandardCharsets.*;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URLDecoder;
import java.util.*;
import org.apache.catalina.startup.Catalina;

public class Snippets extends HttpServlet {
    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        response.setContentType("application/json; charset=utf-8");
        response.getWriter().print(switch (request.getRequestURI()) {
            case "/utf8" -> utf8(request);
            case "/percent" -> percent(request);
            default -> base64url(request);
        });
    }

    private static String utf8(HttpServletRequest request) {
        // SNIPPET utf8
        return json(sub, name, address);
    }

    private static String percent(HttpServletRequest request) {
        // SNIPPET percent
        return json(sub, name, address);
    }

    private static String base64url(HttpServletRequest request) {
        // SNIPPET base64url
        return json(sub, name, address);
    }

    private static String json(String sub, String name, String address) {
        return String.format("{\"sub\": %s, \"name\": \"%s\", \"address\": %s}", sub == null ? "null" : '"' + sub + '"', name, address);
    }

    /** Tomcat as server.xml says, whose web.xml has this servlet. */
    public static void main(String[] args) throws Exception {
        System.setProperty("catalina.home", args[0]);
        System.setProperty("catalina.base", args[0]);
        var catalina = new Catalina();
        catalina.setParentClassLoader(Snippets.class.getClassLoader());
        catalina.setConfigFile(args[1]);
        catalina.setAwait(true);
        catalina.start();
    }
}
