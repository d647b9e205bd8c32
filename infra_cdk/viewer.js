// Runs in CloudFront at each request, before anything else.
//
// API Gateway parses the query and loses its order, but a federation request's signature covers the URI as it
// was sent: so the functions get that in a header of ours, whatever the client sent under its name. A
// browser's preflight is answered here. A WebSocket API knows one path, its stage's.

const URI_HEADER = 'x-murmuration-uri';
const SOCKET_PATH = /^\/_matrix\/client\/[^/]+\/stream$/;
const CORS_HEADERS = {
    'access-control-allow-origin': { value: '*' },
    'access-control-allow-methods': { value: 'GET, POST, PUT, DELETE, OPTIONS' },
    'access-control-allow-headers': { value: 'X-Requested-With, Content-Type, Authorization' },
    'access-control-expose-headers': { value: 'Retry-After' },
    'access-control-max-age': { value: '86400' },
};

function handler(event) {
    const request = event.request;
    if (request.method === 'OPTIONS') {
        return { statusCode: 204, statusDescription: 'No Content', headers: CORS_HEADERS };
    }
    const query = request.rawQueryString();
    request.headers[URI_HEADER] = { value: query === undefined ? request.uri : request.uri + '?' + query };
    if (SOCKET_PATH.test(request.uri)) {
        request.uri = '/ws';
    }
    return request;
}
