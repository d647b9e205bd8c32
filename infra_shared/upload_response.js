// Runs in CloudFront at answers to uploads by PUT, unless they are errors.
//
// The bucket's answer to an upload that it stored is empty. The client gets the specification's: an empty JSON
// object, and the headers that let web pages read it. Functions answer in JSON: those answers stay as they are.

const KEPT = ['date', 'via', 'warning'];
const HEADERS = {
    'content-type': 'application/json',
    'content-length': '2',
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET, POST, PUT, DELETE, OPTIONS',
    'access-control-allow-headers': 'X-Requested-With, Content-Type, Authorization',
    'access-control-expose-headers': 'Retry-After',
};

function handler(event) {
    const response = event.response;
    const type = response.headers['content-type'];
    if (response.statusCode !== 200 || (type && type.value.startsWith('application/json'))) {
        return response;
    }
    Object.keys(response.headers).forEach((name) => {
        if (KEPT.indexOf(name) === -1) {
            delete response.headers[name];
        }
    });
    Object.keys(HEADERS).forEach((name) => {
        response.headers[name] = { value: HEADERS[name] };
    });
    response.cookies = {};
    response.body = { encoding: 'text', data: '{}' };
    return response;
}
