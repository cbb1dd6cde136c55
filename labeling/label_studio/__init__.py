"""Label Studio: client, projects, tasks, answers, accounts and the webhook server."""
