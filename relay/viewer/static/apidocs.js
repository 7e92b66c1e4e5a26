// Draws the API reference from the openapi.json beside this page. A classic script, since both libraries are globals.
/* global SwaggerUIBundle, Redoc */
const swagger = document.getElementById('swagger-ui');
if (swagger) {
  SwaggerUIBundle({ url: 'openapi.json', domNode: swagger, deepLinking: true, validatorUrl: null });
} else {
  Redoc.init('openapi.json', { disableSearch: false, hideDownloadButton: false }, document.getElementById('redoc'));
}
