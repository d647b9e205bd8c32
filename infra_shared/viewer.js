// Runs in CloudFront at each request, before anything else.
//
// API Gateway parses the query and loses its order, but a federation request's signature covers the URI as it
// was sent: so the functions get that in a header of ours, whatever the client sent under its name. A URI that
// nobody on the way can write otherwise goes without it, as all headers together may have 10,240 bytes. A
// browser's preflight is answered here. A WebSocket API knows one path, its stage's.
//
// A /sync of a client that has seen everything carries a marked token. It goes to the device's wake queue instead
// of a function, unless it asks for something else than the answer that brought the mark, or may not wait, or
// stayed away for so long that a ring may be gone. Nobody else comes to the queues' path: it doesn't exist outside.
// At the edge (AT_EDGE), the request goes to SQS itself, without the client's headers, and to the REST API that has
// the queues where SQS refuses it. What the answer needs to know goes along in headers (viewer_response.js).
//
// An upload that is too large for a function goes to the path at which API Gateway puts bodies into the bucket, with
// its size in a header of ours: it doesn't exist outside either. Only a REST API does that.
//
// An HTTP API decodes the path before it finds a route: it is given each `%` as `%25`. It knows no slash at the
// end of a path, and takes a body for text by its type: the functions get that in a header of ours, too. What it
// would refuse for its size is refused here. It has neither queues nor the bucket: who may wait and large uploads
// go to the REST API beside it, another origin.

const crypto = require('crypto');

const HTTP_APIS = false;
const AT_EDGE = false;
const QUEUES = '/';
const URI_HEADER = 'x-murmuration-uri';
const TYPE_HEADER = 'x-murmuration-content-type';
const BINARY = 'application/octet-stream';
const MOST_HEADER_BYTES = 9700;
const MOST_BODY_BYTES = 4600000;
const PLAIN_PATH = /^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$/;
const SOCKET_PATH = /^\/_matrix\/client\/[^/]+\/stream$/;
const CORS_HEADERS = {
    'access-control-allow-origin': { value: '*' },
    'access-control-allow-methods': { value: 'GET, POST, PUT, DELETE, OPTIONS' },
    'access-control-allow-headers': { value: 'X-Requested-With, Content-Type, Authorization' },
    'access-control-expose-headers': { value: 'Retry-After' },
    'access-control-max-age': { value: '86400' },
};

const SYNC_PATH = /^\/_matrix\/client\/(r0|v3)\/sync$/;
const MARKED =
    /^(p_([\w-]{8,32}\.p\d[\w-]{0,400}\.([0-9a-f]{32}))\.([0-9a-f]{12})\.(\d{10})\.([\w-]*))\.(\d{13})$/;
const PARKED_BY = ['access_token', 'filter', 'set_presence', 'use_state_after'];
const INTERNAL = ['parked', 'uploads'];
const SIZE_HEADER = 'x-murmuration-size';
const UPLOAD_PATH = /^\/_matrix\/media\/(?:r0|v3|v1)\/upload(\/[^/]+\/[^/]+)?$/;
const LARGE_BYTES = 4194304;
const BUCKET_PATH = /^\/(?:answers|media|remote)\//;
const ORIGINS = [{ originId: 'queues' }, { originId: 'parking' }];
const FAILOVER_STATUSES = [400, 403, 404, 429, 500, 502, 503, 504];
const READ_ONLY = ['cdn-loop', 'content-length', 'host', 'transfer-encoding', 'via'];
const LONGEST_WAIT = 20;
const LONGEST_ABSENCE = 45000;

function text(query, name) {
    const found = query[name];
    if (found === undefined) {
        return '';
    }
    const last = found.multiValue ? found.multiValue[found.multiValue.length - 1] : found;
    return decodeURIComponent(last.value.replace(/\+/g, ' '));
}

function parked(request, now) {
    const query = request.querystring;
    const mark = MARKED.exec(text(query, 'since'));
    if (!mark || text(query, 'full_state') === 'true') {
        return null;
    }
    const authorization = request.headers.authorization ? request.headers.authorization.value : '';
    const choices = PARKED_BY.map((name) => text(query, name)).concat(AT_EDGE ? ['edge'] : []);
    const asked = [authorization].concat(choices).join('\n');
    const fingerprint = crypto.createHash('sha256').update(asked).digest('hex').slice(0, 12);
    const timeout = /^\d{1,9}$/.test(text(query, 'timeout')) ? Number(text(query, 'timeout')) : 0;
    const left = Number(mark[5]) - Math.floor(now / 1000);
    const wait = Math.min(LONGEST_WAIT, Math.floor(timeout / 1000), left);
    if (mark[4] !== fingerprint || wait < 1 || now - Number(mark[7]) > LONGEST_ABSENCE) {
        return null;
    }
    return { queue: mark[3], wait: String(wait), keep: mark[1], call: 'c_' + mark[2], keys: mark[6] };
}

// Whether a path is that of the queues or of uploads, in any way in which somebody behind us may read it.
function isInternal(uri) {
    let path = uri;
    for (let round = 0; round < 3; round++) {
        try {
            path = decodeURIComponent(path);
        } catch (error) {
            path = path.replace(/%([0-7][0-9a-f])/gi, (all, code) => String.fromCharCode(parseInt(code, 16)));
        }
    }
    const parts = [];
    path.split(/[\/\\]/).forEach((part) => {
        if (part === '..') {
            parts.pop();
        } else if (part !== '' && part !== '.') {
            parts.push(part);
        }
    });
    return parts.length > 0 && INTERNAL.indexOf(parts[0].toLowerCase()) !== -1;
}

function parkAtEdge(request, found) {
    request.uri = QUEUES + found.queue;
    request.querystring = {
        Action: { value: 'ReceiveMessage' },
        Version: { value: '2012-11-05' },
        MaxNumberOfMessages: { value: '1' },
        VisibilityTimeout: { value: '0' },
        WaitTimeSeconds: { value: found.wait },
    };
    Object.keys(request.headers).forEach((name) => {
        if (READ_ONLY.indexOf(name) === -1) {
            delete request.headers[name];
        }
    });
    request.cookies = {};
    ['wait', 'keep', 'call', 'keys'].forEach((name) => {
        if (found[name]) {
            request.headers['x-murmuration-' + name] = { value: found[name] };
        }
    });
    cf.createRequestOriginGroup({
        originIds: ORIGINS,
        selectionCriteria: 'default',
        failoverCriteria: { statusCodes: FAILOVER_STATUSES },
    });
}

function park(request) {
    let found = null;
    try {
        found = parked(request, Date.now());
    } catch (error) {
        // A query that isn't properly encoded is for the function to refuse.
    }
    if (found && AT_EDGE) {
        parkAtEdge(request, found);
    } else if (found) {
        request.uri = '/parked/' + found.queue;
        request.querystring = {};
        ['wait', 'keep', 'call', 'keys'].forEach((name) => {
            request.querystring[name] = { value: found[name] };
        });
        delete request.headers['content-type'];
        if (HTTP_APIS) {
            cf.selectRequestOriginById('parking');
        }
    }
    return found !== null;
}

function upload(request) {
    const found = UPLOAD_PATH.exec(request.uri);
    const length = request.headers['content-length'];
    if (!found || !length || !(Number(length.value) > LARGE_BYTES)) {
        return false;
    }
    if (request.method !== (found[1] ? 'PUT' : 'POST')) {
        return false;
    }
    request.headers[SIZE_HEADER] = { value: length.value };
    request.uri = '/uploads' + (found[1] || '');
    if (HTTP_APIS) {
        cf.selectRequestOriginById('parking');
    }
    return true;
}

function refuse(status, description, errcode, error) {
    const headers = Object.assign({ 'content-type': { value: 'application/json' } }, CORS_HEADERS);
    const body = JSON.stringify({ errcode: errcode, error: error });
    return { statusCode: status, statusDescription: description, headers: headers, body: body };
}

// What an HTTP API would refuse in words of its own: all headers with the URI, and a function's event, have limits.
function tooLarge(request, query) {
    const length = request.headers['content-length'];
    if (length && Number(length.value) > MOST_BODY_BYTES) {
        const most = 'its body may have 4194304 bytes';
        return refuse(413, 'Content Too Large', 'M_TOO_LARGE', 'The request is too large: ' + most);
    }
    const names = Object.keys(request.headers);
    const headers = names.reduce((size, name) => size + name.length + request.headers[name].value.length, 0);
    if (request.uri.length + (query || '').length + headers > MOST_HEADER_BYTES) {
        return refuse(431, 'Too Large', 'M_UNRECOGNIZED', "The request can't be understood");
    }
    return null;
}

// A request as an HTTP API hands it on unchanged. Signed paths of the bucket stay as they are.
function prepare(request) {
    if (BUCKET_PATH.test(request.uri)) {
        return;
    }
    request.uri = request.uri.replace(/%/g, '%25');
    if (request.uri.length > 1 && request.uri.endsWith('/')) {
        request.uri = request.uri.slice(0, -1);
    }
    if (request.headers['content-type']) {
        request.headers[TYPE_HEADER] = { value: request.headers['content-type'].value };
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
        request.headers['content-type'] = { value: BINARY };
    }
}

function handler(event) {
    const request = event.request;
    if (request.method === 'OPTIONS') {
        return { statusCode: 204, statusDescription: 'No Content', headers: CORS_HEADERS };
    }
    if (isInternal(request.uri)) {
        return refuse(404, 'Not Found', 'M_UNRECOGNIZED', 'Unrecognized request');
    }
    if (request.method === 'GET' && SYNC_PATH.test(request.uri) && park(request)) {
        return request;
    }
    const query = request.rawQueryString();
    delete request.headers[URI_HEADER];
    delete request.headers[TYPE_HEADER];
    if (query !== undefined || !PLAIN_PATH.test(request.uri)) {
        request.headers[URI_HEADER] = { value: query === undefined ? request.uri : request.uri + '?' + query };
    }
    delete request.headers[SIZE_HEADER];
    if (upload(request)) {
        return request;
    }
    if (SOCKET_PATH.test(request.uri)) {
        request.uri = '/ws';
    } else if (HTTP_APIS) {
        prepare(request);
        return tooLarge(request, query) || request;
    }
    return request;
}
