// What does any Worker add that only passes a request on?
export default {
  fetch(request, env) {
    return fetch(new Request(env.UPSTREAM + new URL(request.url).pathname, request));
  },
};
