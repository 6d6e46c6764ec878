# A module for nginx: ffi/nginx/build and ffi/nginx.md say more. NGINX, NGINX_SRC, NGINX_FLAGS pick the server.
.PHONY: nginx
nginx: $(BUILD)/libweir.a ## the nginx module, against Debian's nginx-dev or NGINX_SRC=: BUILD/nginx/
	+@ffi/nginx/build '$(BUILD)/nginx' '$(BUILD)/libweir.a'
