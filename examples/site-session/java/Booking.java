import jakarta.servlet.SessionTrackingMode;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.EnumSet;
import java.util.Set;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

/** A gym's booking as there are many: it looks at who the user is once, and from then on goes by Tomcat's session. */
public class Booking extends HttpServlet {
    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        var session = request.getSession();
        if (session.getAttribute("user") == null && request.getHeader("X-Vipps-Sub") != null) {
            // With keep_at_login this is a must: whoever knows the id from before must not be in the user's session.
            request.changeSessionId();
            session.setAttribute("user", name(request));
        }
        if (request.getParameter("put") != null) {
            session.setAttribute("basket", request.getParameter("put"));
        }
        response.setContentType("text/plain; charset=utf-8");
        response.getWriter().printf("Logged in: %s.%nBasket: %s.%n", text(session, "user", "nobody"), text(session, "basket", ""));
    }

    private static String text(HttpSession session, String attribute, String otherwise) {
        return session.getAttribute(attribute) instanceof String text ? text : otherwise;
    }

    /** Tomcat reads headers as ISO 8859-1; the name is UTF-8. */
    private static String name(HttpServletRequest request) {
        var name = request.getHeader("X-Vipps-Name");
        return name == null ? "" : new String(name.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
    }

    /** Listens on this machine alone, at the port of the first argument; the second one is a folder to work in. */
    public static void main(String[] args) throws Exception {
        var tomcat = new Tomcat();
        tomcat.setBaseDir(args[1]);
        tomcat.setHostname("127.0.0.1");
        tomcat.setPort(Integer.parseInt(args[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        Context context = tomcat.addContext("", new File(args[1]).getAbsolutePath());
        // In web.xml: <session-config><tracking-mode>COOKIE</tracking-mode></session-config>
        context.addServletContainerInitializer(
                (classes, servlets) -> servlets.setSessionTrackingModes(EnumSet.of(SessionTrackingMode.COOKIE)), Set.of());
        Tomcat.addServlet(context, "booking", new Booking()).addMapping("/*");
        tomcat.start();
        System.out.println("Listening on 127.0.0.1:" + tomcat.getConnector().getLocalPort());
        tomcat.getServer().await();
    }
}
