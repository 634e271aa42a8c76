// Java's own HttpClient, which asks for an upgrade to h2c where there is no TLS: requests in a row, a body
// that waits for `100 Continue`, and an answer that comes early. Prints the results as JSON.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.time.Duration;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

public class Client {
    static final Duration LIMIT = Duration.ofSeconds(10);

    static HttpRequest.Builder to(String address) {
        return HttpRequest.newBuilder(URI.create(address)).timeout(LIMIT);
    }

    static String send(HttpClient client, HttpRequest request) {
        try {
            var response = client.send(request, BodyHandlers.ofString());
            return response.statusCode() + " " + response.version() + " " + response.body();
        } catch (Exception error) {
            return error.toString();
        }
    }

    static String expecting(HttpClient client, String base) {
        var body = BodyPublishers.ofByteArray(new byte[10000]);
        return send(client, to(base + "/echo").expectContinue(true).POST(body).build());
    }

    static SSLContext trustingAll() throws Exception {
        var trust = new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] chain, String type) {}
            public void checkServerTrusted(X509Certificate[] chain, String type) {}
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        };
        var context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {trust}, new SecureRandom());
        return context;
    }

    public static void main(String[] addresses) throws Exception {
        var plain = HttpClient.newHttpClient();
        var right = 0;
        for (var number = 0; number < 20; number++) {
            right += send(plain, to(addresses[0] + "/echo").build()).startsWith("200") ? 1 : 0;
        }
        System.out.printf("{\"in a row\": %d, \"expect\": \"%s\"", right, expecting(plain, addresses[0]));
        if (addresses.length > 1) {
            var secure = HttpClient.newBuilder().sslContext(trustingAll()).build();
            System.out.printf(", \"expect, TLS\": \"%s\"", expecting(secure, addresses[1]));
        }
        System.out.println("}");
    }
}
