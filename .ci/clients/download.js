// Node's own client of HTTP/2: one answer larger than its session memory (10 MB), and as much in parts side
// by side. Prints the bytes of each as JSON.
const http2 = require('http2');

const session = http2.connect(process.argv[2]);
session.on('error', (error) => { throw error; });

function get(path) {
  return new Promise((resolve, reject) => {
    const request = session.request({ ':path': path });
    let bytes = 0;
    request.on('data', (piece) => { bytes += piece.length; });
    request.on('end', () => resolve(bytes));
    request.on('error', reject);
  });
}

(async () => {
  const whole = await get('/download');
  const parts = await Promise.all(Array.from({ length: 100 }, () => get('/part')));
  console.log(JSON.stringify({ whole, parts: parts.reduce((sum, bytes) => sum + bytes) }));
  session.close();
})();
