"""The controller: jobs, deployments, pools and the registry; neither torch nor ray."""
