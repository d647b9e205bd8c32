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
// A request of sliding sync is a POST with a marked `pos`. Its body can't be seen here, but its length can. It goes
// to the REST API in any case, whose template compares the body: SQS can't, and CloudFront repeats no POST.
//
// An upload that is too large for a function goes to the path at which API Gateway puts bodies into the bucket, with
// its size in a header of ours: it doesn't exist outside either. Only a REST API does that.
//
// What is too large for that goes to the bucket itself (`incoming`), if it is a PUT to a media ID that was signed for
// the request's access token (media/incoming/signed_ids.py). Nothing goes along but body, type and file name.
// S3 stores only what isn't there. A function takes the object for the ID afterwards, or deletes it.
//
// The behaviour of such uploads has a function of its own: it is deployed without the parts between <waiting> and
// </waiting>, and the function of all other requests without those between <to-bucket> and </to-bucket>.
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
const JSON_TYPE = 'application/json';
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

// <waiting>
const SYNC_PATH = /^\/_matrix\/client\/(r0|v3)\/sync$/;
const SLIDING_PATH = /^\/_matrix\/client\/(unstable\/org\.matrix\.simplified_msc3575|v4)\/sync$/;
const MARKED =
    /^((l?)p_([\w-]{8,32}\.[p-t]\d[\w-]{0,400}\.([0-9a-f]{32}))\.([0-9a-f]{12})\.(\d{10})\.([\w-]*)(?:\.(-?\d+_-?\d+))?)\.(\d{13})$/;
const PARKED_BY = ['access_token', 'filter', 'set_presence', 'use_state_after', 'org.matrix.msc4222.use_state_after'];
const SLIDING_BY = ['access_token', 'set_presence'];
const PARAMETERS = ['wait', 'keep', 'call', 'keys', 'digest'];
const ORIGINS = [{ originId: 'queues' }, { originId: 'parking' }];
const FAILOVER_STATUSES = [400, 403, 404, 429, 500, 502, 503, 504];
const LONGEST_WAIT = 20;
const LONGEST_ABSENCE = 45000;
// </waiting>
const INTERNAL = ['parked', 'uploads'];
const SIZE_HEADER = 'x-murmuration-size';
const UPLOAD_PATH = /^\/_matrix\/media\/(?:r0|v3|v1)\/upload(\/[^/]+\/[^/]+)?$/;
const LARGE_BYTES = 4194304;
const MOST_POST_BYTES = 10000000;
const MOST_PUT_BYTES = 0;
const TOO_LARGE =
    'An upload may have ' + MOST_POST_BYTES + ' bytes, and ' + MOST_PUT_BYTES +
    ' by PUT to a media ID from POST /_matrix/media/v1/create';
// <to-bucket>
const UPLOAD_KEY = '';
const SERVER_NAME = '';
const SIGNED_ID = /^([\w-]{24}(\d{10}))([\w-]{22})$/;
const MOST_NAME_BYTES = 1024;
// </to-bucket>
const BUCKET_PATH = /^\/(?:answers|media|remote)\//;
const READ_ONLY = ['cdn-loop', 'content-length', 'host', 'transfer-encoding', 'via'];

function text(query, name) {
    const found = query[name];
    if (found === undefined) {
        return '';
    }
    const last = found.multiValue ? found.multiValue[found.multiValue.length - 1] : found;
    return decodeURIComponent(last.value.replace(/\+/g, ' '));
}

// <waiting>
function parked(request, now) {
    const query = request.querystring;
    const slides = request.method === 'POST';
    const mark = MARKED.exec(text(query, slides ? 'pos' : 'since'));
    if (!mark || (mark[2] === 'l') !== slides || text(query, 'full_state') === 'true') {
        return null;
    }
    const header = (name) => (request.headers[name] ? request.headers[name].value : '');
    const asked = [header('authorization')]
        .concat((slides ? SLIDING_BY : PARKED_BY).map((name) => text(query, name)))
        .concat(slides ? [request.uri, header('content-length')] : [])
        .concat(AT_EDGE ? ['edge'] : [])
        .join('\n');
    const fingerprint = crypto.createHash('sha256').update(asked).digest('hex').slice(0, 12);
    const timeout = /^\d{1,9}$/.test(text(query, 'timeout')) ? Number(text(query, 'timeout')) : 0;
    const left = Number(mark[6]) - Math.floor(now / 1000);
    const wait = Math.min(LONGEST_WAIT, Math.floor(timeout / 1000), left);
    if (mark[5] !== fingerprint || wait < 1 || now - Number(mark[9]) > LONGEST_ABSENCE) {
        return null;
    }
    const call = mark[2] + 'c_' + mark[3];
    return { queue: mark[4], wait: String(wait), keep: mark[1], call: call, keys: mark[7], digest: mark[8] };
}

// </waiting>
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

function dropHeaders(request) {
    Object.keys(request.headers).forEach((name) => {
        if (READ_ONLY.indexOf(name) === -1) {
            delete request.headers[name];
        }
    });
    request.cookies = {};
}

// <waiting>
function parkAtEdge(request, found) {
    request.uri = QUEUES + found.queue;
    request.querystring = {};
    dropHeaders(request);
    PARAMETERS.forEach((name) => {
        if (found[name]) {
            request.headers['x-murmuration-' + name] = { value: found[name] };
        }
    });
    if (found.digest) {
        request.headers['content-type'] = { value: JSON_TYPE };
        cf.selectRequestOriginById('parking');
        return;
    }
    request.querystring = {
        Action: { value: 'ReceiveMessage' },
        Version: { value: '2012-11-05' },
        MaxNumberOfMessages: { value: '1' },
        VisibilityTimeout: { value: '0' },
        WaitTimeSeconds: { value: found.wait },
    };
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
        PARAMETERS.forEach((name) => {
            if (found[name] !== undefined) {
                request.querystring[name] = { value: found[name] };
            }
        });
        delete request.headers['content-type'];
        if (found.digest) {
            request.headers['content-type'] = { value: JSON_TYPE };
        }
        if (HTTP_APIS) {
            cf.selectRequestOriginById('parking');
        }
    }
    return found !== null;
}
// </waiting>

// Answers a request with an error, or sends it to where its upload is stored. Returns nothing for other requests.
function upload(request) {
    const found = UPLOAD_PATH.exec(request.uri);
    const length = request.headers['content-length'];
    if (!found || !length || !(Number(length.value) > LARGE_BYTES)) {
        return null;
    }
    if (request.method !== (found[1] ? 'PUT' : 'POST')) {
        return null;
    }
    if (MOST_PUT_BYTES && Number(length.value) > MOST_POST_BYTES) {
        // <to-bucket>
        const signed = SIGNED_ID.exec(request.uri.split('/').pop());
        if (signed && found[1] && Number(length.value) <= MOST_PUT_BYTES) {
            return uploadToBucket(request, signed);
        }
        // </to-bucket>
        return refuse(413, 'Content Too Large', 'M_TOO_LARGE', TOO_LARGE);
    }
    request.headers[SIZE_HEADER] = { value: length.value };
    request.uri = '/uploads' + (found[1] || '');
    if (HTTP_APIS) {
        cf.selectRequestOriginById('parking');
    }
    return request;
}

// <to-bucket>
function uploadToBucket(request, signed) {
    const headers = request.headers;
    const bearer = headers.authorization ? /^bearer +(\S.*)$/i.exec(headers.authorization.value) : null;
    let server = '';
    let token = '';
    let name = '';
    try {
        server = decodeURIComponent(request.uri.split('/')[5]);
        token = bearer ? bearer[1].trim() : text(request.querystring, 'access_token');
        name = text(request.querystring, 'filename');
    } catch (error) {
        return refuse(400, 'Bad Request', 'M_INVALID_PARAM', 'The path or the query is not UTF-8');
    }
    if (!token) {
        return refuse(401, 'Unauthorized', 'M_MISSING_TOKEN', 'The access token is missing');
    }
    if (server !== SERVER_NAME || Number(signed[2]) * 1000 <= Date.now()) {
        return refuse(404, 'Not Found', 'M_NOT_FOUND', 'There are no such media');
    }
    if (!isEqual(signed[3], signature(SERVER_NAME + '\n' + signed[1] + '\n' + token))) {
        return refuse(403, 'Forbidden', 'M_FORBIDDEN', 'This media ID was created with another access token');
    }
    if (Buffer.from(name).length > MOST_NAME_BYTES) {
        return refuse(400, 'Bad Request', 'M_INVALID_PARAM', 'filename has at most 1024 bytes');
    }
    const type = headers['content-type'];
    dropHeaders(request);
    headers['content-type'] = { value: type ? type.value : BINARY };
    headers['if-none-match'] = { value: '*' };
    if (name) {
        headers['content-disposition'] = { value: "attachment; filename*=utf-8''" + encodeURIComponent(name) };
    }
    request.uri = '/incoming/' + signed[0];
    request.querystring = {};
    cf.selectRequestOriginById('incoming');
    return request;
}

function signature(signed) {
    return crypto.createHmac('sha256', UPLOAD_KEY).update(signed).digest('base64url').slice(0, 22);
}

// Compares two texts of the same length in constant time.
function isEqual(one, other) {
    let differences = 0;
    for (let index = 0; index < one.length; index++) {
        differences |= one.charCodeAt(index) ^ other.charCodeAt(index);
    }
    return differences === 0;
}
// </to-bucket>

function refuse(status, description, errcode, error) {
    const headers = Object.assign({ 'content-type': { value: JSON_TYPE } }, CORS_HEADERS);
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
    // <waiting>
    const waits = { GET: SYNC_PATH, POST: SLIDING_PATH }[request.method];
    if (waits && waits.test(request.uri) && park(request)) {
        return request;
    }
    // </waiting>
    const query = request.rawQueryString();
    delete request.headers[URI_HEADER];
    delete request.headers[TYPE_HEADER];
    if (query !== undefined || !PLAIN_PATH.test(request.uri)) {
        request.headers[URI_HEADER] = { value: query === undefined ? request.uri : request.uri + '?' + query };
    }
    delete request.headers[SIZE_HEADER];
    const uploaded = upload(request);
    if (uploaded) {
        return uploaded;
    }
    if (SOCKET_PATH.test(request.uri)) {
        request.uri = '/ws';
    } else if (HTTP_APIS) {
        prepare(request);
        return tooLarge(request, query) || request;
    }
    return request;
}
