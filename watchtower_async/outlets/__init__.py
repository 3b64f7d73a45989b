"""What the program shows and takes orders through: the control socket, the HTTP API, metrics, live
events and notifications.

Above session and service, and used by the composition root only. The server and the metrics library are imported when
they are used, since a plan and a health check need neither.
"""
